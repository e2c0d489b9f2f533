-- A database as version 1 left it; foreign keys are off while it is read, as a dump is written in no order.
PRAGMA foreign_keys = OFF;
PRAGMA application_id = 2003987314;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE aliases (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        alias TEXT NOT NULL,
        session_id TEXT NOT NULL,
        PRIMARY KEY (sandbox, principal, alias),
        FOREIGN KEY (sandbox, session_id) REFERENCES sessions (sandbox, session_id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "aliases" VALUES('default','uid:1000','conn','wr_ada');
CREATE TABLE ended_sessions (
        sandbox TEXT NOT NULL,
        session_id TEXT NOT NULL,
        principal TEXT NOT NULL,
        last_directory TEXT NOT NULL,
        ending TEXT NOT NULL,
        ended_at REAL NOT NULL,
        PRIMARY KEY (sandbox, session_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "ended_sessions" VALUES('default','wr_gone','uid:1000','/old','expired',2.5);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('namespace','fdbff4ee-76a9-4771-bd6e-b6767cf46ac8');
CREATE TABLE projects (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        root TEXT NOT NULL,
        project_id TEXT NOT NULL,
        name TEXT NOT NULL,
        worktree_of TEXT,
        seen_at REAL NOT NULL,
        PRIMARY KEY (sandbox, principal, root)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "projects" VALUES('default','uid:1000','/home/ada/app','5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11','app',NULL,1000.0);
CREATE TABLE sessions (
        sandbox TEXT NOT NULL,
        session_id TEXT NOT NULL,
        principal TEXT NOT NULL,
        working_directory TEXT NOT NULL,
        given_directory TEXT NOT NULL,
        config_path TEXT,
        project_id TEXT,
        project_root TEXT,
        signs TEXT NOT NULL, -- JSON: [[source, directory], ...]
        set_at REAL NOT NULL,
        last_used REAL NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (sandbox, session_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "sessions" VALUES('default','wr_ada','uid:1000','/home/ada/app/src','/home/ada/link/src','/home/ada/app/.workroot/config.toml','5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11','/home/ada/app','[["roots", "/home/ada/größe"]]',1000.25,1001.5,3);
CREATE INDEX ended_sessions_by_time ON ended_sessions (ended_at);
CREATE INDEX aliases_by_session ON aliases (sandbox, session_id);
CREATE TRIGGER what_ended_stays_ended BEFORE INSERT ON sessions
    WHEN EXISTS (SELECT 1 FROM ended_sessions WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id)
    BEGIN SELECT RAISE(ABORT, 'the session has ended'); END;
CREATE TRIGGER a_key_stays_with_its_principal BEFORE INSERT ON sessions
    WHEN EXISTS (
        SELECT 1 FROM sessions
        WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id AND principal <> NEW.principal
    )
    BEGIN SELECT RAISE(ABORT, 'the session id belongs to somebody else'); END;
CREATE TRIGGER an_ending_removes_the_session AFTER INSERT ON ended_sessions
    BEGIN DELETE FROM sessions WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id; END;
CREATE TRIGGER an_alias_stands_for_a_kept_session BEFORE INSERT ON aliases
    WHEN NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id AND principal = NEW.principal
    )
    BEGIN SELECT RAISE(ABORT, 'the owner of the alias has no such session that is kept'); END;
COMMIT;
