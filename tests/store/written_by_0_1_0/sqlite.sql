BEGIN TRANSACTION;
CREATE TABLE bioclip_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT bioclip_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "bioclip_alembic_version" VALUES('0002');
CREATE TABLE bioclip_answer_sets (
	id INTEGER NOT NULL, 
	answer_id TEXT NOT NULL, 
	feature_set INTEGER NOT NULL, 
	settings TEXT NOT NULL, 
	CONSTRAINT pk_bioclip_answer_sets PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_answer_sets_feature_set FOREIGN KEY(feature_set) REFERENCES bioclip_feature_sets (id), 
	CONSTRAINT uq_bioclip_answer_sets_answer_id UNIQUE (answer_id)
)
 STRICT

;
INSERT INTO "bioclip_answer_sets" VALUES(1,'3178c8fcaa17d94fd2a8401e4e5d8ed3e3ca66bab12346389728ff7dabc6bfd4',1,'{"blocks":[{"bias":0.0,"feature_mean":null,"kind":"text","scale":10.0,"start":0,"stop":3}],"classify_version":1,"feature_id":"9c3e92d309252b575c88bb4d154676494e57471998eb7c0a2ae9a02e9080f5d8","label_set":"f6912dd3f6b4ac5e08946b8a1304a5c90e09bf728a8c14e6a9693b8f58f4c896","prior":[],"rank":"species","subset":[],"top":5}');
CREATE TABLE bioclip_answers (
	answer_set INTEGER NOT NULL, 
	region INTEGER NOT NULL, 
	flags TEXT NOT NULL, 
	CONSTRAINT pk_bioclip_answers PRIMARY KEY (answer_set, region), 
	CONSTRAINT fk_bioclip_answers_answer_set FOREIGN KEY(answer_set) REFERENCES bioclip_answer_sets (id), 
	CONSTRAINT fk_bioclip_answers_region FOREIGN KEY(region) REFERENCES bioclip_regions (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_answers" VALUES(1,1,'');
INSERT INTO "bioclip_answers" VALUES(1,2,'');
INSERT INTO "bioclip_answers" VALUES(1,3,'');
INSERT INTO "bioclip_answers" VALUES(1,4,'');
INSERT INTO "bioclip_answers" VALUES(1,5,'');
INSERT INTO "bioclip_answers" VALUES(1,6,'');
INSERT INTO "bioclip_answers" VALUES(1,7,'');
CREATE TABLE bioclip_candidates (
	answer_set INTEGER NOT NULL, 
	region INTEGER NOT NULL, 
	rank INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	taxon INTEGER NOT NULL, 
	probability REAL NOT NULL, 
	CONSTRAINT pk_bioclip_candidates PRIMARY KEY (answer_set, region, rank, position)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_candidates" VALUES(1,1,0,0,9,9.99999954132363200187e-01);
INSERT INTO "bioclip_candidates" VALUES(1,1,4,0,4,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,1,5,0,5,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,1,6,0,7,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,1,6,1,1,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,1,6,2,8,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,2,0,0,9,1.0);
INSERT INTO "bioclip_candidates" VALUES(1,2,4,0,4,0.997501790523529);
INSERT INTO "bioclip_candidates" VALUES(1,2,5,0,5,0.997501790523529);
INSERT INTO "bioclip_candidates" VALUES(1,2,6,0,7,0.997501790523529);
INSERT INTO "bioclip_candidates" VALUES(1,2,6,1,8,2.41646263748407363891e-03);
INSERT INTO "bioclip_candidates" VALUES(1,2,6,2,1,8.17633845144882798194e-05);
INSERT INTO "bioclip_candidates" VALUES(1,3,0,0,9,9.99999954132363200187e-01);
INSERT INTO "bioclip_candidates" VALUES(1,3,4,0,3,9.99954558326862752437e-01);
INSERT INTO "bioclip_candidates" VALUES(1,3,5,0,6,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,3,6,0,8,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,3,6,1,1,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,3,6,2,7,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,4,0,0,9,9.99999954132363200187e-01);
INSERT INTO "bioclip_candidates" VALUES(1,4,4,0,3,9.99954558326862752437e-01);
INSERT INTO "bioclip_candidates" VALUES(1,4,5,0,2,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,4,6,0,1,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,4,6,1,8,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,4,6,2,7,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,5,0,0,9,9.99999940395355224609e-01);
INSERT INTO "bioclip_candidates" VALUES(1,5,4,0,3,7.76778817176818847656e-01);
INSERT INTO "bioclip_candidates" VALUES(1,5,5,0,2,5.53557693958282470703e-01);
INSERT INTO "bioclip_candidates" VALUES(1,5,6,0,1,5.53557693958282470703e-01);
INSERT INTO "bioclip_candidates" VALUES(1,5,6,1,8,2.23221123218536376953e-01);
INSERT INTO "bioclip_candidates" VALUES(1,5,6,2,7,2.23221123218536376953e-01);
INSERT INTO "bioclip_candidates" VALUES(1,6,0,0,9,9.99999944830051390454e-01);
INSERT INTO "bioclip_candidates" VALUES(1,6,4,0,3,9.9993211458422592841e-01);
INSERT INTO "bioclip_candidates" VALUES(1,6,5,0,2,9.99886274337768554687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,6,6,0,1,9.99886274337768554687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,6,6,1,7,6.78302458254620432853e-05);
INSERT INTO "bioclip_candidates" VALUES(1,6,6,2,8,4.58402464573737233877e-05);
INSERT INTO "bioclip_candidates" VALUES(1,7,0,0,9,9.99999954132363200187e-01);
INSERT INTO "bioclip_candidates" VALUES(1,7,4,0,4,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,7,5,0,5,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,7,6,0,7,9.99909162521362304687e-01);
INSERT INTO "bioclip_candidates" VALUES(1,7,6,1,1,4.53958055004477500915e-05);
INSERT INTO "bioclip_candidates" VALUES(1,7,6,2,8,4.53958055004477500915e-05);
CREATE TABLE bioclip_contents (
	id INTEGER NOT NULL, 
	sha256 TEXT NOT NULL, 
	frame INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	CONSTRAINT pk_bioclip_contents PRIMARY KEY (id), 
	CONSTRAINT uq_bioclip_contents_sha256_frame_size UNIQUE (sha256, frame, size)
)
 STRICT

;
INSERT INTO "bioclip_contents" VALUES(1,'0b257d836f731fd4a1197c0be8bf0d47b8015c227ad1818336f5d62318994abd',0,203);
INSERT INTO "bioclip_contents" VALUES(2,'66c064b5938e6c3a680891e0cf22ed60dab8d4dca3669cf7c9118e4d9b7a7e64',0,203);
INSERT INTO "bioclip_contents" VALUES(3,'7bf8212ec9b9b8c222861374bfd71ae4037ff6f39c9c66f7034d988ec0584610',0,203);
INSERT INTO "bioclip_contents" VALUES(4,'93b0698c880f2354090494a6a0e41bf44bf139a12ff59146abbddfb01200313a',0,203);
INSERT INTO "bioclip_contents" VALUES(5,'e83fe39f3572006bc760cc6672212cde8b832dcb75ee34cea170d13efb060673',0,203);
INSERT INTO "bioclip_contents" VALUES(6,'f25c9370c7e6666dbca928f281f6795c3f17e45351dd11806cc2e8cb09e477f7',0,203);
CREATE TABLE bioclip_decision_sets (
	id INTEGER NOT NULL, 
	rule_id TEXT NOT NULL, 
	answer_set INTEGER NOT NULL, 
	settings TEXT NOT NULL, 
	CONSTRAINT pk_bioclip_decision_sets PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_decision_sets_answer_set FOREIGN KEY(answer_set) REFERENCES bioclip_answer_sets (id), 
	CONSTRAINT uq_bioclip_decision_sets_rule_id UNIQUE (rule_id)
)
 STRICT

;
INSERT INTO "bioclip_decision_sets" VALUES(1,'981c02ecc9e91a65578be6aa18f794f0531ee826108ff9df7c602a61a91cc0ab',1,'{"answer_id":"3178c8fcaa17d94fd2a8401e4e5d8ed3e3ca66bab12346389728ff7dabc6bfd4","rules":[{"name":"consensus","threshold":0.65,"version":1}]}');
INSERT INTO "bioclip_decision_sets" VALUES(2,'e1bda16fd72b0144cdd11bd0cc9f1c30b732788144b316a0eea0cc6dd5075a73',1,'{"answer_id":"3178c8fcaa17d94fd2a8401e4e5d8ed3e3ca66bab12346389728ff7dabc6bfd4","deployments":{"table":"sha256:2e40ef17de06b5a922790ab4e34ce0217d545ae88c80747cc7540b27f01e523a"},"rules":[{"name":"consensus","threshold":0.65,"version":1},{"name":"sequences","settings":{"gap":60.0,"most":1000,"time_zone":null},"version":2},{"name":"unknown","settings":{"below":0.4,"rank":"kingdom"},"version":1}],"sources":["table.csv"]}');
INSERT INTO "bioclip_decision_sets" VALUES(3,'619266bb1a3697d84f5e40fba04618b911b86e3cbaf8b1d78b03cb1bd8ab8161',1,'{"answer_id":"3178c8fcaa17d94fd2a8401e4e5d8ed3e3ca66bab12346389728ff7dabc6bfd4","rules":[{"name":"consensus","threshold":0.65,"version":1},{"name":"blanks","settings":{"confidence":0.2},"version":1}]}');
INSERT INTO "bioclip_decision_sets" VALUES(4,'e8aeb964c907889fcc619f099eb594a54ce70747d844dcfdf36e12ea834b058b',1,'{"answer_id":"3178c8fcaa17d94fd2a8401e4e5d8ed3e3ca66bab12346389728ff7dabc6bfd4","deployments":{"table":"sha256:2e40ef17de06b5a922790ab4e34ce0217d545ae88c80747cc7540b27f01e523a"},"rules":[{"name":"consensus","threshold":0.65,"version":1},{"name":"thresholds","settings":{"class":null,"family":0.5,"genus":null,"group":null,"kingdom":null,"label":null,"order":null,"phylum":null,"species":0.9},"version":1}],"sources":["table.csv"]}');
CREATE TABLE bioclip_decisions (
	decision_set INTEGER NOT NULL, 
	region INTEGER NOT NULL, 
	taxon INTEGER, 
	rank INTEGER, 
	probability REAL, verdict TEXT, event TEXT, trail TEXT, 
	CONSTRAINT pk_bioclip_decisions PRIMARY KEY (decision_set, region), 
	CONSTRAINT fk_bioclip_decisions_decision_set FOREIGN KEY(decision_set) REFERENCES bioclip_decision_sets (id), 
	CONSTRAINT fk_bioclip_decisions_region FOREIGN KEY(region) REFERENCES bioclip_regions (id), 
	CONSTRAINT fk_bioclip_decisions_taxon FOREIGN KEY(taxon) REFERENCES bioclip_taxa (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_decisions" VALUES(1,1,7,6,9.99909162521362304687e-01,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(1,2,7,6,0.997501790523529,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(1,3,8,6,9.99909162521362304687e-01,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(1,4,1,6,9.99909162521362304687e-01,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(1,5,3,4,7.76778817176818847656e-01,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(1,6,1,6,9.99886274337768554687e-01,NULL,NULL,NULL);
INSERT INTO "bioclip_decisions" VALUES(2,1,7,6,0.999607503414154,'taxon','cam1/photos/cam1@2024-05-01T06:00:00+02:00','[{"did":"pooled","images":2,"regions":2,"rule":"sequences"}]');
INSERT INTO "bioclip_decisions" VALUES(2,2,7,6,0.999607503414154,'taxon','cam1/photos/cam1@2024-05-01T06:00:00+02:00','[{"did":"pooled","images":2,"regions":2,"rule":"sequences"}]');
INSERT INTO "bioclip_decisions" VALUES(2,3,8,6,9.99909162521362304687e-01,'taxon','cam1/photos/cam1@2024-05-01T09:00:00+02:00','[]');
INSERT INTO "bioclip_decisions" VALUES(2,4,1,6,9.91515278816223144531e-01,'taxon','s1','[{"did":"pooled","images":2,"regions":2,"rule":"sequences"}]');
INSERT INTO "bioclip_decisions" VALUES(2,5,1,6,9.91515278816223144531e-01,'taxon','s1','[{"did":"pooled","from":"Coldidae","images":2,"regions":2,"rule":"sequences"}]');
INSERT INTO "bioclip_decisions" VALUES(2,6,1,6,9.99886274337768554687e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(3,7,7,6,9.99909162521362304687e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(3,8,NULL,NULL,NULL,'person',NULL,'[{"did":"made person","from":"unknown","rule":"blanks","why":"the detector calls it person"}]');
INSERT INTO "bioclip_decisions" VALUES(3,9,NULL,NULL,NULL,'blank',NULL,'[{"did":"made blank","from":"unknown","rule":"blanks","why":"the detector''s confidence 0.05 is below 0.2"}]');
INSERT INTO "bioclip_decisions" VALUES(3,10,NULL,NULL,NULL,'vehicle',NULL,'[{"did":"made vehicle","from":"unknown","rule":"blanks","why":"the detector calls it vehicle"}]');
INSERT INTO "bioclip_decisions" VALUES(4,1,7,6,9.99909162521362304687e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(4,2,7,6,0.997501790523529,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(4,3,8,6,9.99909162521362304687e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(4,4,1,6,9.99909162521362304687e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(4,5,3,4,7.76778817176818847656e-01,'taxon',NULL,'[]');
INSERT INTO "bioclip_decisions" VALUES(4,6,1,6,9.99886274337768554687e-01,'taxon',NULL,'[]');
CREATE TABLE bioclip_failures (
	run INTEGER NOT NULL, 
	media INTEGER NOT NULL, 
	stage TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	failed_at TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	CONSTRAINT pk_bioclip_failures PRIMARY KEY (run, media), 
	CONSTRAINT fk_bioclip_failures_media FOREIGN KEY(media) REFERENCES bioclip_media (id), 
	CONSTRAINT fk_bioclip_failures_run FOREIGN KEY(run) REFERENCES bioclip_runs (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_failures" VALUES(1,1,'decode','the file is truncated: its data end before the image does (Truncated File Read)','2025-06-01T12:00:00.000000+00:00',1);
INSERT INTO "bioclip_failures" VALUES(2,1,'decode','the file is truncated: its data end before the image does (Truncated File Read)','2025-06-01T12:00:00.000000+00:00',1);
INSERT INTO "bioclip_failures" VALUES(2,8,'read','the file does not exist (any more)','2025-06-01T12:00:00.000000+00:00',1);
INSERT INTO "bioclip_failures" VALUES(3,1,'list','truncated','2025-06-01T12:00:00.000000+00:00',2);
INSERT INTO "bioclip_failures" VALUES(4,1,'decode','the file is truncated: its data end before the image does (Truncated File Read)','2025-06-01T12:00:00.000000+00:00',1);
INSERT INTO "bioclip_failures" VALUES(4,8,'read','the file does not exist (any more)','2025-06-01T12:00:00.000000+00:00',1);
CREATE TABLE bioclip_feature_sets (
	id INTEGER NOT NULL, 
	feature_id TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	dimension INTEGER NOT NULL, 
	CONSTRAINT pk_bioclip_feature_sets PRIMARY KEY (id), 
	CONSTRAINT uq_bioclip_feature_sets_feature_id UNIQUE (feature_id)
)
 STRICT

;
INSERT INTO "bioclip_feature_sets" VALUES(1,'9c3e92d309252b575c88bb4d154676494e57471998eb7c0a2ae9a02e9080f5d8','{"encode_version":1,"precision":"fp32","preprocessing":{"decode":"reduced","fill":0,"interpolation":"bicubic","mean":[0.48145466,0.4578275,0.40821073],"resize_mode":"squash","size":8,"std":[0.26862954,0.26130258,0.27577711]},"weights_sha256":"fab5e80a729cd9dedac5c94396f200093231783f0b6c944c1391d204504f79e7"}',3);
CREATE TABLE bioclip_features (
	feature_set INTEGER NOT NULL, 
	content INTEGER NOT NULL, 
	x INTEGER NOT NULL, 
	y INTEGER NOT NULL, 
	w INTEGER NOT NULL, 
	h INTEGER NOT NULL, 
	vector BLOB, 
	CONSTRAINT pk_bioclip_features PRIMARY KEY (feature_set, content, x, y, w, h), 
	CONSTRAINT fk_bioclip_features_content FOREIGN KEY(content) REFERENCES bioclip_contents (id), 
	CONSTRAINT fk_bioclip_features_feature_set FOREIGN KEY(feature_set) REFERENCES bioclip_feature_sets (id)
)
 STRICT

;
INSERT INTO "bioclip_features" VALUES(1,5,0,0,10000,10000,X'003C00000000');
INSERT INTO "bioclip_features" VALUES(1,1,0,0,10000,10000,X'873B6B350000');
INSERT INTO "bioclip_features" VALUES(1,3,0,0,10000,10000,X'0000003C0000');
INSERT INTO "bioclip_features" VALUES(1,2,0,0,10000,10000,X'00000000003C');
INSERT INTO "bioclip_features" VALUES(1,6,0,0,10000,10000,X'5D385D381739');
INSERT INTO "bioclip_features" VALUES(1,4,0,0,10000,10000,X'04290000FE3B');
INSERT INTO "bioclip_features" VALUES(1,5,0,0,5000,10000,X'003C00000000');
CREATE TABLE bioclip_listed_regions (
	run INTEGER NOT NULL, 
	media INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	region INTEGER NOT NULL, classified INTEGER, 
	CONSTRAINT pk_bioclip_listed_regions PRIMARY KEY (run, media, position), 
	CONSTRAINT fk_bioclip_listed_regions_media FOREIGN KEY(media) REFERENCES bioclip_media (id), 
	CONSTRAINT fk_bioclip_listed_regions_region FOREIGN KEY(region) REFERENCES bioclip_regions (id), 
	CONSTRAINT fk_bioclip_listed_regions_run FOREIGN KEY(run) REFERENCES bioclip_runs (id)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_listed_regions" VALUES(1,2,0,1,1);
INSERT INTO "bioclip_listed_regions" VALUES(1,3,0,2,1);
INSERT INTO "bioclip_listed_regions" VALUES(1,4,0,3,1);
INSERT INTO "bioclip_listed_regions" VALUES(1,5,0,4,1);
INSERT INTO "bioclip_listed_regions" VALUES(1,6,0,5,1);
INSERT INTO "bioclip_listed_regions" VALUES(1,7,0,6,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,2,0,1,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,3,0,2,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,4,0,3,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,5,0,4,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,6,0,5,1);
INSERT INTO "bioclip_listed_regions" VALUES(2,7,0,6,1);
INSERT INTO "bioclip_listed_regions" VALUES(3,2,0,7,1);
INSERT INTO "bioclip_listed_regions" VALUES(3,2,1,8,0);
INSERT INTO "bioclip_listed_regions" VALUES(3,2,2,9,0);
INSERT INTO "bioclip_listed_regions" VALUES(3,5,0,10,0);
INSERT INTO "bioclip_listed_regions" VALUES(4,2,0,1,1);
INSERT INTO "bioclip_listed_regions" VALUES(4,3,0,2,1);
INSERT INTO "bioclip_listed_regions" VALUES(4,4,0,3,1);
INSERT INTO "bioclip_listed_regions" VALUES(4,5,0,4,1);
INSERT INTO "bioclip_listed_regions" VALUES(4,6,0,5,1);
INSERT INTO "bioclip_listed_regions" VALUES(4,7,0,6,1);
CREATE TABLE bioclip_listing (
	run INTEGER NOT NULL, 
	media INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	status INTEGER NOT NULL, 
	stated TEXT, 
	CONSTRAINT pk_bioclip_listing PRIMARY KEY (run, media), 
	CONSTRAINT fk_bioclip_listing_media FOREIGN KEY(media) REFERENCES bioclip_media (id), 
	CONSTRAINT fk_bioclip_listing_run FOREIGN KEY(run) REFERENCES bioclip_runs (id), 
	CONSTRAINT uq_bioclip_listing_run_position UNIQUE (run, position)
)
 WITHOUT ROWID,
 STRICT

;
INSERT INTO "bioclip_listing" VALUES(1,1,1,2,NULL);
INSERT INTO "bioclip_listing" VALUES(1,2,2,1,NULL);
INSERT INTO "bioclip_listing" VALUES(1,3,3,1,NULL);
INSERT INTO "bioclip_listing" VALUES(1,4,4,1,NULL);
INSERT INTO "bioclip_listing" VALUES(1,5,5,1,NULL);
INSERT INTO "bioclip_listing" VALUES(1,6,6,1,NULL);
INSERT INTO "bioclip_listing" VALUES(1,7,7,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,1,7,2,NULL);
INSERT INTO "bioclip_listing" VALUES(2,2,1,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,3,2,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,4,3,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,5,4,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,6,5,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,7,6,1,NULL);
INSERT INTO "bioclip_listing" VALUES(2,8,8,2,NULL);
INSERT INTO "bioclip_listing" VALUES(3,1,4,2,NULL);
INSERT INTO "bioclip_listing" VALUES(3,2,1,1,'8af9c528a74ca953dee44056a97c9607');
INSERT INTO "bioclip_listing" VALUES(3,4,2,1,'nothing found');
INSERT INTO "bioclip_listing" VALUES(3,5,3,1,'5525a6d84937747c81ea61bac9f63dd9');
INSERT INTO "bioclip_listing" VALUES(4,1,7,2,NULL);
INSERT INTO "bioclip_listing" VALUES(4,2,1,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,3,2,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,4,3,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,5,4,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,6,5,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,7,6,1,NULL);
INSERT INTO "bioclip_listing" VALUES(4,8,8,2,NULL);
CREATE TABLE bioclip_media (
	id INTEGER NOT NULL, 
	uri TEXT NOT NULL, 
	frame INTEGER NOT NULL, 
	size INTEGER, 
	mtime_ns INTEGER, 
	content INTEGER, 
	captured_at TEXT, 
	utc_offset_minutes INTEGER, 
	month INTEGER, 
	country TEXT, 
	region TEXT, 
	latitude REAL, 
	longitude REAL, 
	deployment TEXT, 
	sequence TEXT, 
	metadata TEXT, 
	CONSTRAINT pk_bioclip_media PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_media_content FOREIGN KEY(content) REFERENCES bioclip_contents (id), 
	CONSTRAINT uq_bioclip_media_uri_frame UNIQUE (uri, frame)
)
 STRICT

;
INSERT INTO "bioclip_media" VALUES(1,'photos/broken.jpg',0,17,1700000000000000000,NULL,NULL,NULL,5,NULL,NULL,NULL,NULL,'cam2',NULL,'{"catalogNumber":"0013","eventDate":"2024-05-02","failure":"truncated"}');
INSERT INTO "bioclip_media" VALUES(2,'photos/cam1/a.ppm',0,203,1700000000000000000,5,'2024-05-01T06:00:00',120,5,'NL',NULL,52.5,5.25,'cam1',NULL,'{"catalogNumber":"0007","scientificName":"Red fictus"}');
INSERT INTO "bioclip_media" VALUES(3,'photos/cam1/b.ppm',0,203,1700000000000000000,1,'2024-05-01T06:00:20',120,5,'NL',NULL,52.5,5.25,'cam1',NULL,'{"catalogNumber":"0008","scientificName":"Red fictus"}');
INSERT INTO "bioclip_media" VALUES(4,'photos/cam1/c.ppm',0,203,1700000000000000000,3,'2024-05-01T09:00:00',120,5,'NL',NULL,52.5,5.25,'cam1',NULL,'{"catalogNumber":"0009"}');
INSERT INTO "bioclip_media" VALUES(5,'photos/cam2/d.ppm',0,203,1700000000000000000,2,'2024-05-02T10:00:00',120,5,'AU',NULL,-12.125,130.5,'cam2','s1','{"catalogNumber":"0010","scientificName":"Blue pictus"}');
INSERT INTO "bioclip_media" VALUES(6,'photos/cam2/e.ppm',0,203,1700000000000000000,6,'2024-05-02T10:00:05',120,5,'AU',NULL,-12.125,130.5,'cam2','s1',NULL);
INSERT INTO "bioclip_media" VALUES(7,'photos/cam2/f.ppm',0,203,1700000000000000000,4,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'cam2',NULL,'{"catalogNumber":"0012","scientificName":"Gröön ßæ"}');
INSERT INTO "bioclip_media" VALUES(8,'photos/missing.jpg',0,NULL,NULL,NULL,NULL,NULL,5,NULL,NULL,NULL,NULL,'cam2',NULL,'{"catalogNumber":"0014","eventDate":"2024-05-03"}');
CREATE TABLE "bioclip_regions" (
	id INTEGER NOT NULL, 
	media INTEGER NOT NULL, 
	x INTEGER NOT NULL, 
	y INTEGER NOT NULL, 
	w INTEGER NOT NULL, 
	h INTEGER NOT NULL, 
	detector TEXT NOT NULL, 
	detector_version TEXT NOT NULL, 
	category TEXT NOT NULL, 
	confidence REAL, 
	CONSTRAINT pk_bioclip_regions PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_regions_media FOREIGN KEY(media) REFERENCES bioclip_media (id), 
	CONSTRAINT uq_bioclip_regions_key UNIQUE (media, x, y, w, h, detector, detector_version, category)
)
 STRICT

;
INSERT INTO "bioclip_regions" VALUES(1,2,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(2,3,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(3,4,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(4,5,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(5,6,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(6,7,0,0,10000,10000,'','','',NULL);
INSERT INTO "bioclip_regions" VALUES(7,2,0,0,5000,10000,'md_v5a.0.0.pt','','animal',0.9);
INSERT INTO "bioclip_regions" VALUES(8,2,5000,0,5000,5000,'md_v5a.0.0.pt','','person',0.8);
INSERT INTO "bioclip_regions" VALUES(9,2,5000,5000,5000,5000,'md_v5a.0.0.pt','','animal',0.05);
INSERT INTO "bioclip_regions" VALUES(10,5,2500,2500,5000,5000,'md_v5a.0.0.pt','','vehicle',0.7);
CREATE TABLE bioclip_reviews (
	id INTEGER NOT NULL, 
	uid TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	media INTEGER, 
	region INTEGER, 
	event TEXT, 
	verdict TEXT NOT NULL, 
	taxon INTEGER, 
	reviewer TEXT NOT NULL, 
	reviewed_at TEXT NOT NULL, 
	comment TEXT NOT NULL, details TEXT, 
	CONSTRAINT pk_bioclip_reviews PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_reviews_media FOREIGN KEY(media) REFERENCES bioclip_media (id), 
	CONSTRAINT fk_bioclip_reviews_region FOREIGN KEY(region) REFERENCES bioclip_regions (id), 
	CONSTRAINT fk_bioclip_reviews_taxon FOREIGN KEY(taxon) REFERENCES bioclip_taxa (id), 
	CONSTRAINT uq_bioclip_reviews_uid UNIQUE (uid)
)
 STRICT

;
INSERT INTO "bioclip_reviews" VALUES(1,'b400fa115b0458b49e1cf5324a533f6a','media',2,NULL,NULL,'taxon',7,'Ann','2025-01-02T03:04:05.000000+00:00','sure','{"count":"2"}');
INSERT INTO "bioclip_reviews" VALUES(2,'927d14b69e095a4ea83e6b700486af5e','region',2,7,NULL,'taxon',8,'Bo','2025-01-02T03:05:00.000000+00:00','a "quoted" word; über','{"count":"1"}');
INSERT INTO "bioclip_reviews" VALUES(3,'3ea3f74f41665f84a426be91e6726fe7','media',7,NULL,NULL,'blank',NULL,'Bo','2025-01-02T03:06:00.000000+00:00','',NULL);
INSERT INTO "bioclip_reviews" VALUES(4,'20eb7915b38155eaa09657c1ded9c48a','event',NULL,NULL,'s1','taxon',1,'Cy','2025-01-03T00:00:00.000000+00:00','the whole event',NULL);
INSERT INTO "bioclip_reviews" VALUES(5,'f3c076d664405ca992312242dac3c9a5','media',1,NULL,NULL,'unidentifiable',NULL,'Ann','2025-01-04T00:00:00.000000+00:00','',NULL);
CREATE TABLE bioclip_runs (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	decision_set INTEGER NOT NULL, 
	status TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	begun_at TEXT NOT NULL, 
	ended_at TEXT, 
	sources TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	provenance TEXT NOT NULL, 
	earlier_provenance TEXT NOT NULL, 
	counts TEXT NOT NULL, 
	CONSTRAINT pk_bioclip_runs PRIMARY KEY (id), 
	CONSTRAINT fk_bioclip_runs_decision_set FOREIGN KEY(decision_set) REFERENCES bioclip_decision_sets (id), 
	CONSTRAINT uq_bioclip_runs_key UNIQUE ("key")
)
 STRICT

;
INSERT INTO "bioclip_runs" VALUES(1,'05061a5ae1e08bb65f4b1090b261271af6439efceb6f5a68ce4e63dff2c9b8dd',1,'finished','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','["photos"]','{"allow_outside":false,"base_folder":null,"batch_size":null,"column":[],"day_first":false,"detection_threshold":0.2,"device":"auto","encoding":null,"exact":false,"frames_per_second":1.0,"labels":"labels","model":"fake","month_first":false,"precision":"fp32","rank":"species","replace_prefix":[],"rules":[],"taxa":[],"threshold":0.65,"time_zone":null,"top":5,"turned_boxes":"refuse","video_clock":"utc","workers":null}','{"bioclip_plugin":"0.1.0","host":"field-laptop","model":{"licence":"","name":"fake","revision":"","source":"fake","weights_sha256":"fab5e80a729cd9dedac5c94396f200093231783f0b6c944c1391d204504f79e7"},"packages":{"open_clip_torch":"3.3.0","pillow":"13.0.0","torch":"2.14.1"},"plugins":["builtins (bioclip-plugin 0.1.0)","media (bioclip-plugin 0.1.0)","host-hooks (bioclip-plugin 0.1.0)","139803935178192 ()"],"precision":"fp32","precision_asked":"fp32","python":"3.11.7","store":"sqlite:///results.db","system":"Linux","working_directory":"/tmp/wolf-survey"}','[]','{"seconds":0.1}');
INSERT INTO "bioclip_runs" VALUES(2,'bbfa0d8225265d112fede05785fb7fc32224c1355000076658ff2d1b1e7ecf61',2,'finished','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','["table.csv"]','{"allow_outside":false,"base_folder":null,"batch_size":null,"column":[],"day_first":false,"deployments":"/tmp/wolf-survey/cameras.csv","detection_threshold":0.2,"device":"auto","encoding":null,"exact":false,"frames_per_second":1.0,"labels":"labels","model":"fake","month_first":false,"precision":"fp32","rank":"species","replace_prefix":[],"rules":["sequences:gap=60","unknown:below=0.4"],"taxa":[],"threshold":0.65,"time_zone":null,"top":5,"turned_boxes":"refuse","video_clock":"utc","workers":null}','{"bioclip_plugin":"0.1.0","host":"field-laptop","model":{"licence":"","name":"fake","revision":"","source":"fake","weights_sha256":"fab5e80a729cd9dedac5c94396f200093231783f0b6c944c1391d204504f79e7"},"packages":{"open_clip_torch":"3.3.0","pillow":"13.0.0","torch":"2.14.1"},"plugins":["builtins (bioclip-plugin 0.1.0)","media (bioclip-plugin 0.1.0)","host-hooks (bioclip-plugin 0.1.0)","139804035196496 ()"],"precision":"fp32","precision_asked":"fp32","python":"3.11.7","store":"sqlite:///results.db","system":"Linux","working_directory":"/tmp/wolf-survey"}','[]','{"rules":{"changed":1,"divided_events":0,"events":3,"examples":{"sequences":["photos/cam2/e.ppm: Coldidae 0.78 -> Blue pictus 0.99"]},"images":6,"notes":[],"pooled_events":2,"regions":6,"rules":{"sequences":{"pooled":4}},"verdicts":{"taxon":6}},"seconds":0.2}');
INSERT INTO "bioclip_runs" VALUES(3,'035ddbc7d229174d0acfeaf682971584d670a738bdb733e510a0693ddb68894d',3,'finished','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','["md.json"]','{"allow_outside":false,"base_folder":"photos","batch_size":null,"column":[],"day_first":false,"detection_threshold":0.2,"device":"auto","encoding":null,"exact":false,"frames_per_second":1.0,"labels":"labels","model":"fake","month_first":false,"precision":"fp32","rank":"species","replace_prefix":[],"rules":["blanks:confidence=0.2"],"taxa":[],"threshold":0.65,"time_zone":null,"top":5,"turned_boxes":"refuse","video_clock":"utc","workers":null}','{"bioclip_plugin":"0.1.0","host":"field-laptop","model":{"licence":"","name":"fake","revision":"","source":"fake","weights_sha256":"fab5e80a729cd9dedac5c94396f200093231783f0b6c944c1391d204504f79e7"},"packages":{"open_clip_torch":"3.3.0","pillow":"13.0.0","torch":"2.14.1"},"plugins":["builtins (bioclip-plugin 0.1.0)","media (bioclip-plugin 0.1.0)","host-hooks (bioclip-plugin 0.1.0)","139803624486224 ()"],"precision":"fp32","precision_asked":"fp32","python":"3.11.7","store":"sqlite:///results.db","system":"Linux","working_directory":"/tmp/wolf-survey"}','[]','{"rules":{"changed":3,"divided_events":0,"events":0,"examples":{"blanks":["photos/cam1/a.ppm: unknown -> person","photos/cam1/a.ppm: unknown -> blank","photos/cam2/d.ppm: unknown -> vehicle"]},"images":2,"notes":[],"pooled_events":0,"regions":4,"rules":{"blanks":{"made blank":1,"made person":1,"made vehicle":1}},"verdicts":{"blank":1,"person":1,"taxon":1,"vehicle":1}},"seconds":0.1}');
INSERT INTO "bioclip_runs" VALUES(4,'2047768a89396a3b9691709277217273d41dfe0431521ced885d02ca0ec09054',4,'finished','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','2025-06-01T12:00:00.000000+00:00','["table.csv"]','{"allow_outside":false,"base_folder":null,"batch_size":null,"column":[],"day_first":false,"deployments":"/tmp/wolf-survey/cameras.csv","detection_threshold":0.2,"device":"auto","encoding":null,"exact":false,"frames_per_second":1.0,"labels":"labels","model":"fake","month_first":false,"precision":"fp32","rank":"species","replace_prefix":[],"rules":["thresholds:species=0.9,family=0.5"],"taxa":[],"threshold":0.65,"time_zone":null,"top":5,"turned_boxes":"refuse","video_clock":"utc","workers":null}','{"bioclip_plugin":"0.1.0","host":"field-laptop","model":{"licence":"","name":"fake","revision":"","source":"fake","weights_sha256":"fab5e80a729cd9dedac5c94396f200093231783f0b6c944c1391d204504f79e7"},"packages":{"open_clip_torch":"3.3.0","pillow":"13.0.0","torch":"2.14.1"},"plugins":["builtins (bioclip-plugin 0.1.0)","media (bioclip-plugin 0.1.0)","host-hooks (bioclip-plugin 0.1.0)","139804035196496 ()"],"precision":"fp32","precision_asked":"fp32","python":"3.11.7","rules_of_run":2,"rules_working_directory":"/tmp/wolf-survey","store":"sqlite:///results.db","system":"Linux","working_directory":"/tmp/wolf-survey"}','[]','{"rules":{"changed":0,"divided_events":0,"events":0,"examples":{},"images":6,"notes":[],"pooled_events":0,"regions":6,"rules":{},"verdicts":{"taxon":6}},"seconds":0.0}');
CREATE TABLE bioclip_taxa (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	kingdom TEXT NOT NULL, 
	phylum TEXT NOT NULL, 
	class TEXT NOT NULL, 
	"order" TEXT NOT NULL, 
	family TEXT NOT NULL, 
	genus TEXT NOT NULL, 
	species TEXT NOT NULL, 
	common_name TEXT NOT NULL, 
	source_id TEXT NOT NULL, 
	CONSTRAINT pk_bioclip_taxa PRIMARY KEY (id), 
	CONSTRAINT uq_bioclip_taxa_key UNIQUE ("key")
)
 STRICT

;
INSERT INTO "bioclip_taxa" VALUES(1,'37d2cb8e9f310a9b04fdf5705c8e09c4',6,'Fictia','','','','Coldidae','Blue','pictus','azure invention','');
INSERT INTO "bioclip_taxa" VALUES(2,'3f86054d0627496e74ae81e15c0fe8c6',5,'Fictia','','','','Coldidae','Blue','','','');
INSERT INTO "bioclip_taxa" VALUES(3,'4bf9bea867ebfbc75aa5743eac1ebb72',4,'Fictia','','','','Coldidae','','','','');
INSERT INTO "bioclip_taxa" VALUES(4,'60ab6a40ae05b68d425431ce38de402c',4,'Fictia','','','','Warmidae','','','','');
INSERT INTO "bioclip_taxa" VALUES(5,'655d91880a4544ddc7c7e09e15b68046',5,'Fictia','','','','Warmidae','Red','','','');
INSERT INTO "bioclip_taxa" VALUES(6,'7c43fa820288c88056f7afa3cf847e17',5,'Fictia','','','','Coldidae','Green','','','');
INSERT INTO "bioclip_taxa" VALUES(7,'8fa0048a1a2bbf5d06706bc91d7bbb02',6,'Fictia','','','','Warmidae','Red','fictus','scarlet invention','');
INSERT INTO "bioclip_taxa" VALUES(8,'d70a359796fe7430eb94808daa1ca4c3',6,'Fictia','','','','Coldidae','Green','fictus','','');
INSERT INTO "bioclip_taxa" VALUES(9,'fa9bcfd107b19f17e844a723314ecc8a',0,'Fictia','','','','','','','','');
CREATE INDEX ix_bioclip_answers_region ON bioclip_answers (region);
CREATE INDEX ix_bioclip_decisions_region ON bioclip_decisions (region);
CREATE INDEX ix_bioclip_reviews_media ON bioclip_reviews (media);
CREATE INDEX ix_bioclip_failures_media ON bioclip_failures (media);
CREATE INDEX ix_bioclip_listed_regions_media ON bioclip_listed_regions (media);
CREATE INDEX ix_bioclip_listing_media ON bioclip_listing (media);
CREATE INDEX ix_bioclip_listing_run_status ON bioclip_listing (run, status);
COMMIT;
