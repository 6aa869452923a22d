using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Edge.Common.Storage;

/// <summary>Brings what stands in a database's write-ahead log into the database file, on a connection of its own beside the writer.</summary>
/// <remarks>SQLite by itself does that within a commit, every thousand pages: whoever waits for that commit waits for two more writes to the disk, which on a node's disk is the
/// longest wait there is. A passive checkpoint waits for nobody and nobody waits for it (https://www.sqlite.org/c3ref/wal_checkpoint_v2.html). Where commits follow each other without a
/// pause it never reaches the log's end; the writer's own checkpoint then bounds the log, and finds little left to do.</remarks>
internal sealed class WalCheckpoints : IAsyncDisposable
{
    /// <summary>Pages after which the log is brought in; SQLite's own default.</summary>
    public const int Every = 1000;

    /// <summary>Pages at which the writer does it itself: 32 MiB of log with pages of 4 KiB.</summary>
    public const int WritersOwn = 8 * Every;

    // sqlite3.h: pages that this connection has written, in WAL mode those to the log.
    private const int StatusCacheWrite = 9;

    private readonly sqlite3 _writer;
    private readonly string _connectionText;
    private int _before;
    private Task _running = Task.CompletedTask;
    private long _done;
    private long _failed;

    public WalCheckpoints(SqliteConnection writer, string connectionText)
    {
        _writer = writer.Handle!;
        _connectionText = connectionText;
        _before = PagesWritten();
    }

    /// <summary>Checkpoints done.</summary>
    public long Done => Interlocked.Read(ref _done);

    /// <summary>Checkpoints that SQLite refused (a full disk, an I/O error); the log keeps everything.</summary>
    public long Failed => Interlocked.Read(ref _failed);

    /// <summary>To be called by the writer after each commit; begins a checkpoint when it is time.</summary>
    public void Committed()
    {
        if (!_running.IsCompleted)
            return;
        var pages = PagesWritten();
        if (unchecked(pages - _before) < Every)
            return;
        _before = pages;
        _running = Task.Run(Checkpoint);
    }

    /// <summary>Waits for the checkpoint that runs.</summary>
    public async ValueTask DisposeAsync() => await _running;

    // Of no connection that is open can SQLite not say it.
    private int PagesWritten() => raw.sqlite3_db_status(_writer, StatusCacheWrite, out var pages, out _, resetFlg: 0) == raw.SQLITE_OK ? pages : _before;

    private void Checkpoint()
    {
        try
        {
            using var connection = new SqliteConnection(_connectionText);
            connection.Open();
            // A connection that has not read yet does not know of the log, and would say that there is nothing to do.
            using (var look = connection.CreateCommand())
            {
                look.CommandText = "PRAGMA schema_version";
                look.ExecuteScalar();
            }

            var code = raw.sqlite3_wal_checkpoint_v2(connection.Handle!, "main", raw.SQLITE_CHECKPOINT_PASSIVE, out var pages, out _);
            SqliteException.ThrowExceptionForRC(code, connection.Handle!);
            Interlocked.Increment(ref pages < 0 ? ref _failed : ref _done);
        }
        catch (SqliteException)
        {
            // Nothing is lost and nobody waits for it: the log has it all, and the writer meets the disk's trouble in its own commit.
            Interlocked.Increment(ref _failed);
        }
    }
}
