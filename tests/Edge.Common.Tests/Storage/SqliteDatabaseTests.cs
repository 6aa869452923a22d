using Edge.Common.Storage;
using Microsoft.Data.Sqlite;

namespace Edge.Common.Tests.Storage;

[Trait("Category", "Unit")]
public sealed class SqliteDatabaseTests : IDisposable
{
    private static readonly string[] s_schema = ["CREATE TABLE item (key TEXT PRIMARY KEY, value TEXT NOT NULL)"];
    private readonly string _directory = Directory.CreateTempSubdirectory("edge-sqlite-").FullName;

    private string FilePath => Path.Combine(_directory, "test.db");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_completed_write_is_seen_by_readers_and_after_reopening()
    {
        await using (var database = Open())
        {
            await database.WriteAsync(connection => Insert(connection, "a", "1"));
            Assert.Equal("1", database.Read(connection => Value(connection, "a")));
        }

        await using var again = Open();
        Assert.Equal("1", again.Read(connection => Value(connection, "a")));
    }

    [Fact]
    public async Task What_is_committed_is_on_the_disk_before_its_writer_hears_of_it()
    {
        await using var database = Open();
        // SQLite's word for it: the log is written ahead, and each commit waits for the disk (FULL). A power loss cannot be had in a test.
        Assert.Equal(("wal", 2L), await database.WriteAsync(connection => ((string)Scalar(connection, "PRAGMA journal_mode")!, (long)Scalar(connection, "PRAGMA synchronous")!)));
    }

    [Fact]
    public async Task A_write_that_throws_is_undone_alone_and_its_waiter_gets_the_exception()
    {
        await using var database = Open();
        var good = database.WriteAsync(connection => Insert(connection, "good", "1"));
        var bad = database.WriteAsync(connection =>
        {
            Insert(connection, "bad", "1");
            throw new InvalidOperationException("refused");
        });
        await good;
        Assert.Equal("refused", (await Assert.ThrowsAsync<InvalidOperationException>(async () => await bad)).Message);
        Assert.Null(database.Read(connection => Value(connection, "bad")));
        Assert.Equal("1", database.Read(connection => Value(connection, "good")));
    }

    [Fact]
    public async Task A_write_alone_in_its_commit_that_throws_leaves_nothing_and_the_next_one_commits()
    {
        await using var database = Open();
        Assert.Equal("refused", (await Assert.ThrowsAsync<InvalidOperationException>(async () => await database.WriteAsync(connection =>
        {
            Insert(connection, "bad", "1");
            throw new InvalidOperationException("refused");
        }))).Message);
        await Assert.ThrowsAsync<StoreException>(async () => await database.WriteAsync(connection => Scalar(connection, "SELECT nothing FROM nowhere")));
        await database.WriteAsync(connection => Insert(connection, "good", "1"));
        Assert.Equal(1L, database.Read(connection => Scalar(connection, "SELECT COUNT(*) FROM item")));
    }

    [Fact]
    public async Task A_statement_binds_what_is_empty_as_what_it_is_and_can_be_used_again()
    {
        await using var database = Open();
        await database.WriteAsync(connection =>
        {
            using var put = new SqliteStatement(connection, "INSERT INTO item (key, value) VALUES (?1, ?2)");
            foreach (var (key, value) in ((string, string)[])[("", ""), ("ü", new string('ä', 1000)), ("n", "1")])
            {
                put.Bind(1, key);
                put.Bind(2, value);
                put.Run();
            }

            using var length = new SqliteStatement(connection, "SELECT length(value) FROM item WHERE key = ?1");
            foreach (var (key, expected) in ((string, long?)[])[("", 0), ("ü", 1000), ("none", null)])
            {
                length.Bind(1, key);
                Assert.Equal(expected, length.RunForNumber());
            }

            using var blob = new SqliteStatement(connection, "SELECT ?1 IS NOT NULL AND typeof(?1) = 'blob' AND ?2 = 7");
            blob.Bind(1, ReadOnlySpan<byte>.Empty);
            blob.Bind(2, 7L);
            Assert.Equal(1, blob.RunForNumber());
            put.Bind(1, "n");
            Assert.Equal(19, Assert.Throws<SqliteException>(put.Run).SqliteErrorCode);
            put.Bind(1, "m");
            put.Run();
        });
        Assert.Equal(4L, database.Read(connection => Scalar(connection, "SELECT COUNT(*) FROM item")));
    }

    [Fact]
    public async Task What_is_left_for_the_end_is_committed_after_the_last_write_and_a_failure_there_keeps_nothing_else_from_it()
    {
        await using (var database = Open())
        {
            database.AtClose(connection => Insert(connection, "first", Value(connection, "last") ?? "too early"));
            database.AtClose(_ => throw new InvalidOperationException("lost"));
            database.AtClose(connection => Insert(connection, "second", "1"));
            await database.WriteAsync(connection => Insert(connection, "last", "was there"));
            Assert.Null(database.Read(connection => Value(connection, "first")));
        }

        await using var again = Open();
        Assert.Equal(("was there", "1"), (again.Read(connection => Value(connection, "first")), again.Read(connection => Value(connection, "second"))));
    }

    [Fact]
    public async Task Many_writers_at_once_all_commit()
    {
        await using var database = Open();
        await Task.WhenAll(Enumerable.Range(0, 2000).Select(i => database.WriteAsync(connection => Insert(connection, $"k{i}", "v")).AsTask()));
        Assert.Equal(2000L, database.Read(connection => Scalar(connection, "SELECT COUNT(*) FROM item")));
    }

    [Fact]
    public async Task The_log_is_brought_into_the_file_beside_the_writer()
    {
        await using (var database = Open())
        {
            var before = new FileInfo(FilePath).Length;
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            for (var i = 0; database.Checkpoints.Done == 0; i++)
                await database.WriteAsync(connection => Insert(connection, $"k{i}", new string('v', 100_000)), patience.Token);
            Assert.True(new FileInfo(FilePath).Length - before > 1_000_000, $"the file grew from {before} to {new FileInfo(FilePath).Length} bytes");
            Assert.Equal(0, database.Checkpoints.Failed);
        }

        await using var again = Open();
        Assert.Equal(100_000L, again.Read(connection => Scalar(connection, "SELECT LENGTH(value) FROM item WHERE key = 'k0'")));
    }

    [Fact]
    public async Task Queued_writes_are_finished_before_the_file_closes()
    {
        var database = Open();
        var writes = Enumerable.Range(0, 100).Select(i => database.WriteAsync(connection => Insert(connection, $"k{i}", "v")).AsTask()).ToList();
        await database.DisposeAsync();
        await Task.WhenAll(writes);
        await using var again = Open();
        Assert.Equal(100L, again.Read(connection => Scalar(connection, "SELECT COUNT(*) FROM item")));
    }

    [Fact]
    public void A_corrupt_file_is_refused_unless_it_may_be_replaced()
    {
        File.WriteAllText(FilePath, new string('x', 8192));
        var error = Assert.Throws<StoreException>(() => Open());
        Assert.Contains("is corrupt", error.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(FilePath));
    }

    [Fact]
    public async Task A_corrupt_file_that_may_be_replaced_is_kept_aside()
    {
        File.WriteAllText(FilePath, new string('x', 8192));
        await using var database = SqliteDatabase.Open(FilePath, s_schema, TimeProvider.System, replaceCorrupt: true);
        Assert.NotNull(database.CorruptBackup);
        Assert.Equal(8192, new FileInfo(database.CorruptBackup).Length);
        await database.WriteAsync(connection => Insert(connection, "a", "1"));
    }

    [Fact]
    public async Task A_file_of_a_newer_program_is_refused()
    {
        await Open().DisposeAsync();
        var error = Assert.Throws<StoreException>(() => SqliteDatabase.Open(FilePath, [], TimeProvider.System));
        Assert.Contains("schema version 1", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_file_is_readable_by_its_owner_alone()
    {
        await using var database = Open();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(FilePath));
    }

    private static void Insert(SqliteConnection connection, string key, string value)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "INSERT INTO item (key, value) VALUES ($key, $value)";
        command.Parameters.AddWithValue("$key", key);
        command.Parameters.AddWithValue("$value", value);
        command.ExecuteNonQuery();
    }

    private static string? Value(SqliteConnection connection, string key) => (string?)Scalar(connection, $"SELECT value FROM item WHERE key = '{key}'");

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    private SqliteDatabase Open() => SqliteDatabase.Open(FilePath, s_schema, TimeProvider.System);
}
