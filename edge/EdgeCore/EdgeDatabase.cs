using Edge.Common.Storage;
using Edge.Core.MetaManager;

namespace Edge.Core;

/// <summary>edgecore.db: the cloud's objects, local rows of rooms, and the queue to the cloud. Mode 0600, since Secrets lie in it.</summary>
public static class EdgeDatabase
{
    private static readonly string[] s_migrations =
    [
        """
        CREATE TABLE objects(
            key TEXT PRIMARY KEY, type TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
            rv INTEGER NOT NULL, seq INTEGER NOT NULL, json BLOB NOT NULL);
        CREATE INDEX objects_type ON objects(type, key);
        CREATE TABLE tombstones(uid TEXT PRIMARY KEY, seq INTEGER NOT NULL);
        CREATE TABLE local(room TEXT NOT NULL, key TEXT NOT NULL, json BLOB NOT NULL, PRIMARY KEY(room, key)) WITHOUT ROWID;
        CREATE TABLE uplink(
            id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, newest INTEGER NOT NULL, priority INTEGER NOT NULL, version INTEGER NOT NULL,
            source TEXT NOT NULL, grp TEXT NOT NULL, operation TEXT NOT NULL, resource TEXT NOT NULL, content BLOB NOT NULL);
        CREATE UNIQUE INDEX uplink_newest ON uplink(key) WHERE newest = 1
        """,
        // The fingerprint (NULL: not known yet) stands before the JSON, so that an inventory reads no more of a row than its head.
        // A tombstone's rv is the version that was deleted; 0 holds back every version of the uid.
        """
        CREATE TABLE objects2(
            key TEXT PRIMARY KEY, type TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
            rv INTEGER NOT NULL, seq INTEGER NOT NULL, fp INTEGER, json BLOB NOT NULL);
        INSERT INTO objects2(key, type, ns, name, uid, rv, seq, json) SELECT key, type, ns, name, uid, rv, seq, json FROM objects;
        DROP TABLE objects;
        ALTER TABLE objects2 RENAME TO objects;
        CREATE INDEX objects_type ON objects(type, key);
        ALTER TABLE tombstones ADD COLUMN rv INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX tombstones_seq ON tombstones(seq)
        """,
    ];

    /// <summary>Opens or creates the file. A corrupt one is kept aside and replaced by an empty one, which the cloud fills again.</summary>
    /// <exception cref="StoreException">The file cannot be opened, or was written by a newer version.</exception>
    public static SqliteDatabase Open(string path, TimeProvider time)
    {
        var database = SqliteDatabase.Open(path, s_migrations, time, replaceCorrupt: true);
        MetaTable.CheckRows(database);
        return database;
    }
}
