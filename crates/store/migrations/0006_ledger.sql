CREATE TABLE held_history(
  seq INTEGER PRIMARY KEY, held TEXT NOT NULL, tenant TEXT NOT NULL, message_id TEXT, at INTEGER NOT NULL,
  step TEXT NOT NULL, json TEXT NOT NULL) STRICT;
CREATE INDEX held_history_at ON held_history(tenant, at);
CREATE INDEX held_history_message_id ON held_history(message_id);
CREATE INDEX held_at ON held(tenant, at);
CREATE INDEX held_message_id ON held(tenant, json_extract(json, '$.message_id'));
CREATE INDEX journeys_tenant_started ON journeys(tenant, started, message_id);
