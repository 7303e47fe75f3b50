ALTER TABLE directory ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
CREATE TABLE members(
  tenant TEXT NOT NULL, parent TEXT NOT NULL, member TEXT NOT NULL, generation INTEGER NOT NULL,
  PRIMARY KEY(tenant, parent, member)) STRICT, WITHOUT ROWID;
CREATE INDEX members_member ON members(tenant, member);
INSERT OR IGNORE INTO members
  SELECT directory.tenant, directory.id, m.value, 0 FROM directory, json_each(directory.json, '$.members') m
  WHERE directory.kind='group';
CREATE TABLE directory_sync(
  tenant TEXT NOT NULL, kind TEXT NOT NULL, generation INTEGER NOT NULL, whole INTEGER NOT NULL, link TEXT NOT NULL,
  more INTEGER NOT NULL, seen INTEGER NOT NULL, finished INTEGER, changed INTEGER NOT NULL,
  trouble TEXT NOT NULL DEFAULT '', PRIMARY KEY(tenant, kind)) STRICT;
