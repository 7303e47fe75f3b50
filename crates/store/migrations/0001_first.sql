CREATE TABLE tenants(
  id TEXT PRIMARY KEY, label TEXT NOT NULL UNIQUE, sealed BLOB NOT NULL) STRICT;
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counters VALUES('tenants', 0);
CREATE TABLE steps(
  tenant TEXT NOT NULL, step TEXT NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY(tenant, step)) STRICT;
CREATE TABLE directory(
  tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY(tenant, kind, id)) STRICT;
CREATE TABLE zone(
  tenant TEXT, name TEXT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(name, kind, value)) STRICT;
CREATE TABLE journeys(
  id TEXT PRIMARY KEY, tenant TEXT, started INTEGER NOT NULL, message_id TEXT, addresses TEXT NOT NULL,
  probe TEXT, json TEXT NOT NULL) STRICT;
CREATE INDEX journeys_started ON journeys(started);
CREATE INDEX journeys_message_id ON journeys(message_id);
CREATE TABLE held(
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, bytes INTEGER NOT NULL,
  json TEXT NOT NULL, UNIQUE(tenant, key)) STRICT;
CREATE TABLE alerts(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, tenant TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL,
  first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER NOT NULL) STRICT;
CREATE INDEX alerts_same ON alerts(kind, tenant, subject, last);
CREATE TABLE probes(
  token TEXT PRIMARY KEY, tenant TEXT NOT NULL, direction TEXT NOT NULL, created INTEGER NOT NULL) STRICT;
CREATE TABLE probe_arrivals(
  token TEXT NOT NULL, at INTEGER NOT NULL, headers TEXT NOT NULL, mark_seen INTEGER NOT NULL) STRICT;
