"""Style of the report: one column of at most 60 rem, light and dark, on screens from 320 pixels and on paper."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f4f6f8; --ink: #1b1b1b; --quiet: #4a4f54; --line: #d5d9dd; --soft: #e6e9ec;
  --good: #1d6b40; --bad: #a32b1c; --open: #7a5200; --link: #1f5a93; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ground: #15181b; --panel: #1e2327; --ink: #e6e8ea; --quiet: #aab1b7; --line: #3a4148; --soft: #2a3035; --good: #74c596;
    --bad: #f29484; --open: #e3b562; --link: #8ab8e8; }
  img.plot { filter: invert(1) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  max-width: 62rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; } p.note { color: var(--quiet); font-size: .92rem; } a { color: var(--link); }
ul { margin: .4rem 0; padding-left: 1.2rem; max-width: 46rem; }
.verdict { background: var(--panel); border-left: 6px solid var(--open); border-radius: 4px; padding: .8rem 1rem; margin: 1rem 0; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.verdict strong { display: block; font-size: 1.35rem; line-height: 1.25; }
.verdict.good strong { color: var(--good); } .verdict.bad strong { color: var(--bad); } .verdict.open strong { color: var(--open); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .6rem; margin: 1rem 0; padding: 0; }
.tiles div { background: var(--panel); border-radius: 4px; padding: .6rem .8rem; } .tiles dt { font-size: .85rem; }
.tiles dd { font-size: 1.5rem; font-weight: 600; line-height: 1.3; } .tiles dd small { display: block; font-size: .82rem; font-weight: 400;
  color: var(--quiet); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; max-width: none; font-size: .92rem; }
.wide { overflow-x: auto; margin: .6rem 0; } .tall { max-height: 36rem; overflow-y: auto; }
.tall th { position: sticky; top: 0; background: var(--ground); } .wide:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95rem; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid var(--soft); vertical-align: top; }
th { font-weight: 600; vertical-align: bottom; border-bottom-color: var(--line); } th:first-child, td:first-child { padding-left: 0; }
th { min-width: 4.5rem; } td { overflow-wrap: anywhere; min-width: 7rem; } td:first-child { min-width: 8.5rem; }
@media (min-width: 50rem) { td:first-child { min-width: 13rem; } }
td.n, th.n { text-align: right; } td.n { white-space: nowrap; min-width: 0; }
pre { overflow-x: auto; background: var(--panel); border-radius: 4px; padding: .6rem .8rem; font-size: .85rem; margin: .5rem 0; }
img { max-width: 100%; height: auto; } img.plot { width: 30rem; display: block; } img.map { width: 46rem; max-width: none; }
dl { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .2rem 1rem; margin: .5rem 0; } dt { color: var(--quiet); }
dd { margin: 0; min-width: 0; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 0 2rem; }
.pair { break-inside: avoid; border-top: 1px solid var(--soft); padding: .8rem 0; } .pair h3 { margin: 0 0 .4rem; }
.pictures { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .6rem; }
figure { margin: 0; min-width: 0; } figure img, figure .gone { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  background: var(--panel); border-radius: 4px; } figure .gone { display: grid; place-items: center; color: var(--quiet);
  font-size: .85rem; }
figcaption { font-size: .85rem; line-height: 1.35; margin-top: .25rem; } figcaption small { display: block; color: var(--quiet);
  font-size: .78rem; } .wrong { color: var(--bad); } .right { color: var(--good); }
@media (max-width: 40rem) { body { padding: .8rem; } h1 { font-size: 1.3rem; } dl:not(.tiles) { grid-template-columns: 1fr; gap: 0; }
  dl:not(.tiles) dd { margin-bottom: .4rem; } .pictures { grid-template-columns: 1fr 1fr; } }
.narrow { display: none; }
@media screen and (max-width: 40rem) { .extra { display: none; } .narrow { display: block; }
  table:has(.extra) :is(th, td) { min-width: 0; padding: .25rem .35rem; } table:has(.extra) :is(th, td):first-child { padding-left: 0; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } .wide, .tall { overflow: visible; max-height: none; }
  .tall th { position: static; } pre { white-space: pre-wrap; }
  h2, h3 { break-after: avoid; } tr, figure, .verdict, .tiles div { break-inside: avoid; } table { font-size: 8.5pt; }
  .verdict, .tiles div, figure img { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  th, td { min-width: 0; padding: .12rem .3rem; }
  td:first-child { min-width: 11em; } img.map { width: 100%; }
  img.plot { width: 12cm; }
}
"""
