"""Countries in cells: the codes of ISO 3166-1, of two letters and of three."""

from __future__ import annotations

_CODES = """
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE BABIH BBBRB
    BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR
    BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR
    CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK
    FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS
    GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN
    ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO
    LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD
    MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER
    NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM
    PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP
    SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF
    TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY
    UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM XKXKX YEYEM YTMYT ZAZAF ZMZMB ZWZWE
"""  # two letters, then three
_THREE_LETTERS = {code: entry[2:] for entry in _CODES.split() for code in (entry[:2], entry[2:])}
_TWO_LETTERS = {code: entry[:2] for entry in _CODES.split() for code in (entry[:2], entry[2:])}
_RESERVED = {"UK": "GB", "EL": "GR"}
"""Codes that ISO 3166-1 reserves, as the United Kingdom and the European Union use them."""


def country_of(cell: object) -> str | None:
    """Return a country's code of two or three letters in capitals; None for anything else, such as a name.

    >>> country_of(" ke "), country_of("KEN"), country_of("UK"), country_of("Kenya"), country_of("XX")
    ('KE', 'KEN', 'GB', None, None)
    """
    code = cell.strip().upper() if isinstance(cell, str) else ""
    return code if code in _THREE_LETTERS else _RESERVED.get(code)


def three_letters(code: str) -> str | None:
    """Return the code of three letters for either code of a country, in any case; None for anything else.

    >>> three_letters("ke"), three_letters("KEN"), three_letters("Kenya")
    ('KEN', 'KEN', None)
    """
    return _THREE_LETTERS.get(country_of(code) or "")


def two_letters(code: str) -> str | None:
    """Return the code of two letters for either code of a country, in any case; None for anything else.

    >>> two_letters("ken"), two_letters("uk"), two_letters("Kenya")
    ('KE', 'GB', None)
    """
    return _TWO_LETTERS.get(country_of(code) or "")
