CREATE TABLE user_lists(
  tenant TEXT NOT NULL, address TEXT NOT NULL, sender TEXT NOT NULL, blocks INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY(tenant, address, sender)) STRICT;
CREATE TABLE reports(
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, at INTEGER NOT NULL, held TEXT NOT NULL, reporter TEXT NOT NULL,
  json TEXT NOT NULL, UNIQUE(tenant, held, reporter)) STRICT;
CREATE INDEX reports_at ON reports(tenant, at);
CREATE TABLE held_links(
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, at INTEGER NOT NULL, ends INTEGER NOT NULL, done TEXT) STRICT;
CREATE TABLE digests(
  tenant TEXT NOT NULL, address TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(tenant, address)) STRICT;
