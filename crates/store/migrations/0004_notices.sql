ALTER TABLE alerts ADD COLUMN acknowledged INTEGER;
CREATE TABLE notice_targets(name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT;
CREATE TABLE notices(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, alert INTEGER NOT NULL, target TEXT NOT NULL,
  raised INTEGER NOT NULL, due INTEGER NOT NULL, tries INTEGER NOT NULL, state TEXT NOT NULL, said TEXT NOT NULL,
  json TEXT NOT NULL) STRICT;
CREATE INDEX notices_waiting ON notices(target, state, seq);
CREATE INDEX notices_alert ON notices(alert);
