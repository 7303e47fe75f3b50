CREATE TABLE kept_links(
  tenant TEXT NOT NULL, id BLOB NOT NULL, url TEXT NOT NULL, ends INTEGER NOT NULL, PRIMARY KEY(tenant, id)) STRICT, WITHOUT ROWID;
CREATE INDEX kept_links_ends ON kept_links(ends);
CREATE TABLE clicks(
  tenant TEXT NOT NULL, journey TEXT NOT NULL, url TEXT NOT NULL, result TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, times INTEGER NOT NULL, PRIMARY KEY(tenant, journey, url, result)) STRICT, WITHOUT ROWID;
CREATE INDEX clicks_last ON clicks(last);
