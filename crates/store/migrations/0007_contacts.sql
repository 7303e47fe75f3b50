CREATE TABLE contacts(
  tenant TEXT NOT NULL, address TEXT NOT NULL, day INTEGER NOT NULL, messages INTEGER NOT NULL, written INTEGER NOT NULL,
  reply_to TEXT, PRIMARY KEY(tenant, address)) STRICT, WITHOUT ROWID;
