using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Threading.Channels;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Edge.Common.Storage;

/// <summary>The database file cannot be used, or a write to it failed.</summary>
public sealed class StoreException : Exception
{
    public StoreException(string message)
        : base(message)
    {
    }

    public StoreException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>One SQLite file in WAL mode with <c>synchronous=FULL</c>: one writer task with group commit, pooled readers.</summary>
/// <remarks>
/// <para><see cref="WriteAsync{T}"/> completes after the commit that holds the write is on disk. All writes that wait share one
/// transaction; each runs in its own savepoint, so one that throws is undone alone and the rest commit. One that is alone needs none.</para>
/// <para>At open the file is checked (<c>PRAGMA quick_check</c>). A corrupt file is moved to <c>FILE.corrupt-TIMESTAMP</c> and, where
/// the options allow it, replaced by an empty one; else <see cref="StoreException"/> says where the copy is.</para>
/// </remarks>
public sealed class SqliteDatabase : IAsyncDisposable
{
    private const int QueueCapacity = 4096;
    private const int BatchMax = 512;
    private const int AnswersMax = 8; // that one thread gives: more would keep the last one waiting
    private readonly Channel<Job> _jobs = Channel.CreateBounded<Job>(
        new BoundedChannelOptions(QueueCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait }); // writers wait: nothing is dropped
    private readonly SqliteConnection _writer;
    private readonly string _connectionText;
    private readonly System.Collections.Concurrent.ConcurrentBag<SqliteConnection> _readers = [];
    private readonly Task _loop;
    private readonly WalCheckpoints _checkpoints;
    private readonly SqliteStatement _begin;
    private readonly SqliteStatement _commit;
    private readonly SqliteStatement _rollback;
    private readonly SqliteStatement _savepoint;
    private readonly SqliteStatement _rollbackTo;
    private readonly SqliteStatement _release;
    private readonly KeyValuePair<string, object?> _label;
    private readonly Lock _atCloseGate = new();
    private readonly List<Action<SqliteConnection>> _atClose = [];
    private bool _disposed;

    private SqliteDatabase(string path, SqliteConnection writer, string connectionText, string? corruptBackup)
    {
        Path = path;
        _writer = writer;
        _connectionText = connectionText;
        CorruptBackup = corruptBackup;
        _label = new("store", System.IO.Path.GetFileNameWithoutExtension(path));
        _begin = new SqliteStatement(writer, "BEGIN IMMEDIATE");
        _commit = new SqliteStatement(writer, "COMMIT");
        _rollback = new SqliteStatement(writer, "ROLLBACK");
        _savepoint = new SqliteStatement(writer, "SAVEPOINT job");
        _rollbackTo = new SqliteStatement(writer, "ROLLBACK TO job");
        _release = new SqliteStatement(writer, "RELEASE job");
        _checkpoints = new WalCheckpoints(writer, connectionText);
        _loop = Task.Factory.StartNew(RunAsync, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).Unwrap();
    }

    /// <summary>Makes SQLite usable for connections that are not opened here; more than once does no harm.</summary>
    public static void LoadLibrary() => SqliteNative.EnsureLoaded();

    public string Path { get; }

    private static readonly Meter s_meter = new("Edge.Common.Storage");

    private static readonly Histogram<double> s_commits = s_meter.CreateHistogram<double>("edge_store_commit_seconds", "s", "Commits of the store, each for all writes that waited");

    private static readonly Counter<long> s_failures = s_meter.CreateCounter<long>("edge_store_commit_failures", description: "Commits that failed");

    /// <summary>Where a corrupt file was kept when this open replaced it, else null. The opener logs it.</summary>
    public string? CorruptBackup { get; }

    /// <summary>Writes that wait for the next commit; the bound is 4096.</summary>
    public int QueueDepth => _jobs.Reader.Count;

    /// <summary>How often the write-ahead log was brought into the file beside the writer, and how often that failed.</summary>
    public (long Done, long Failed) Checkpoints => (_checkpoints.Done, _checkpoints.Failed);

    /// <summary>Opens or creates the file (mode 0600) and brings its schema up to date.</summary>
    /// <param name="migrations">SQL scripts; entry i lifts <c>PRAGMA user_version</c> from i to i+1. Never edit a shipped one.</param>
    /// <param name="replaceCorrupt">True starts with an empty file when the old one is corrupt (it is kept aside).</param>
    /// <exception cref="StoreException">Not openable, corrupt, or written by a newer version of the program.</exception>
    public static SqliteDatabase Open(string path, IReadOnlyList<string> migrations, TimeProvider time, bool replaceCorrupt = false)
    {
        SqliteNative.EnsureLoaded();
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!);
        string? backup = null;
        for (var attempt = 0; ; attempt++)
        {
            var text = new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 30 }.ToString();
            var connection = new SqliteConnection(text);
            try
            {
                if (!File.Exists(path))
                    using (new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
                    {
                    }

                connection.Open();
                Execute(connection, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=" + WalCheckpoints.WritersOwn);
                var check = (string?)Scalar(connection, "PRAGMA quick_check(1)");
                if (check != "ok")
                    throw new SqliteException(check ?? "no answer", 11);
                Migrate(connection, path, migrations);
                return new SqliteDatabase(path, connection, text, backup);
            }
            catch (SqliteException e) when (e.SqliteErrorCode is 11 or 26)
            {
                connection.Dispose();
                backup = $"{path}.corrupt-{time.GetUtcNow():yyyyMMddTHHmmss}-{attempt}";
                if (!replaceCorrupt || attempt > 0)
                    throw new StoreException($"{path} is corrupt ({e.Message}); move it away, or restore it from a backup", e);
                foreach (var suffix in (string[])["", "-wal", "-shm"])
                    if (File.Exists(path + suffix))
                        File.Move(path + suffix, backup + suffix);
            }
            catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException)
            {
                connection.Dispose();
                throw new StoreException($"cannot open the database {path}: {e.Message}", e);
            }
        }
    }

    /// <summary>Runs <paramref name="work"/> on the writer connection and completes after its commit. Waits while the queue is full.</summary>
    /// <remarks>The work runs on the writer's thread: it must not block or wait. What it throws is thrown here, and its changes are undone.</remarks>
    /// <exception cref="StoreException">SQLite refused it: the disk is full or read-only, or the SQL is wrong.</exception>
    public async ValueTask<T> WriteAsync<T>(Func<SqliteConnection, T> work, CancellationToken cancellationToken = default)
    {
        var job = new Job<T>(work);
        await _jobs.Writer.WriteAsync(job, cancellationToken);
        return await job.Task;
    }

    /// <inheritdoc cref="WriteAsync{T}"/>
    public async ValueTask WriteAsync(Action<SqliteConnection> work, CancellationToken cancellationToken = default)
    {
        var job = new PlainJob(work);
        await _jobs.Writer.WriteAsync(job, cancellationToken);
        await job.Task;
    }

    /// <summary>Has <paramref name="work"/> done by <see cref="DisposeAsync"/>, after the last write: for who gathers what need not be on the disk at once. A process that is killed
    /// does not do it. What it throws is lost.</summary>
    public void AtClose(Action<SqliteConnection> work)
    {
        lock (_atCloseGate)
            _atClose.Add(work);
    }

    /// <summary>Commits a write that changes nothing: null when it is on disk, else why it is not (the disk is full, read-only, or gone).</summary>
    public async ValueTask<string?> WriteProblemAsync(CancellationToken cancellationToken = default)
    {
        try
        {
            // The header's page goes through the log and the disk like any other, although the number in it stays the same.
            await WriteAsync(
                connection => Execute(connection, FormattableString.Invariant($"PRAGMA user_version = {(long)Scalar(connection, "PRAGMA user_version")!}")), cancellationToken);
            return null;
        }
        catch (StoreException e)
        {
            return e.Message;
        }
    }

    /// <summary>Runs <paramref name="work"/> on a read-only connection; sees every write that completed before the call.</summary>
    public T Read<T>(Func<SqliteConnection, T> work)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_readers.TryTake(out var connection))
        {
            connection = new SqliteConnection(_connectionText);
            connection.Open();
            Execute(connection, "PRAGMA busy_timeout=10000; PRAGMA query_only=ON;");
        }

        try
        {
            return work(connection);
        }
        finally
        {
            if (_disposed)
                connection.Dispose();
            else
                _readers.Add(connection);
        }
    }

    /// <summary>Finishes the queued writes and the works of <see cref="AtClose"/>, then closes the file.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_disposed)
            return;
        _disposed = true;
        _jobs.Writer.TryComplete();
        await _loop;
        await _checkpoints.DisposeAsync();
        while (_readers.TryTake(out var reader))
            await reader.DisposeAsync();
        foreach (var statement in (SqliteStatement[])[_begin, _commit, _rollback, _savepoint, _rollbackTo, _release])
            statement.Dispose();
        await _writer.DisposeAsync();
    }

    private async Task RunAsync()
    {
        var batch = new List<Job>(BatchMax);
        while (await _jobs.Reader.WaitToReadAsync())
        {
            batch.Clear();
            while (batch.Count < BatchMax && _jobs.Reader.TryRead(out var job))
                batch.Add(job);
            Commit(batch);
        }

        lock (_atCloseGate)
            batch = [.. _atClose.Select(work => new PlainJob(work))];
        if (batch.Count > 0)
            Commit(batch);
    }

    private void Commit(List<Job> batch)
    {
        var began = Stopwatch.GetTimestamp();
        try
        {
            _begin.Run();
            if (batch.Count == 1)
                RunAlone(batch[0]);
            else
            {
                foreach (var job in batch)
                {
                    _savepoint.Run();
                    if (!job.Run(_writer))
                        _rollbackTo.Run();
                    _release.Run();
                }

                _commit.Run();
            }
        }
        catch (SqliteException e)
        {
            // The batch failed as a whole (disk full, I/O error): undo it, tell every waiter.
            TryRollback();
            s_failures.Add(1, _label);
            foreach (var job in batch)
                job.Fail(new StoreException($"writing to {Path} failed: {e.Message}", e));
            Answer(batch);
            return;
        }

        s_commits.Record(Stopwatch.GetElapsedTime(began).TotalSeconds, _label);
        Answer(batch);
        _checkpoints.Committed();
    }

    // The transaction itself undoes it: a savepoint would keep a copy of every page that it changes.
    private void RunAlone(Job job)
    {
        if (job.Run(_writer))
            _commit.Run();
        else if (raw.sqlite3_get_autocommit(_writer.Handle!) == 0)
            _rollback.Run();
        else
            s_failures.Add(1, _label); // the disk refused it (full, an I/O error), and SQLite has rolled back by itself
    }

    /// <summary>Wakes those who wait for the batch, beside the next one. A few go on one after the other on the same thread: to wake a thread for each costs more than what most of
    /// them then do.</summary>
    private static void Answer(List<Job> batch)
    {
        for (var start = 0; start < batch.Count; start += AnswersMax)
            ThreadPool.UnsafeQueueUserWorkItem(
                static jobs =>
                {
                    foreach (var job in jobs)
                        job.Complete();
                },
                batch.GetRange(start, Math.Min(AnswersMax, batch.Count - start)), preferLocal: false);
    }

    private void TryRollback()
    {
        try
        {
            Execute(_writer, "ROLLBACK");
        }
        catch (SqliteException)
        {
            // Mostly "no transaction is active": SQLite has rolled back by itself. If the disk fails even for this, the next batch fails and tries again; the writer
            // must not end over it, since every later write would wait for ever.
        }
    }

    private static void Migrate(SqliteConnection connection, string path, IReadOnlyList<string> migrations)
    {
        var version = Convert.ToInt32(Scalar(connection, "PRAGMA user_version"), System.Globalization.CultureInfo.InvariantCulture);
        if (version > migrations.Count)
            throw new StoreException($"{path} has schema version {version}, this program knows up to {migrations.Count}; run the newer program");
        for (; version < migrations.Count; version++)
            Execute(connection, $"BEGIN IMMEDIATE; {migrations[version]}; PRAGMA user_version={version + 1}; COMMIT;");
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    private abstract class Job
    {
        protected Exception? Error { get; private set; }

        public bool Run(SqliteConnection connection)
        {
            try
            {
                Work(connection);
                return true;
            }
            catch (SqliteException e)
            {
                Error = new StoreException($"writing to {connection.DataSource} failed: {e.Message}", e);
                return false;
            }
            catch (Exception e) when (e is not UnreachableException)
            {
                Error = e; // belongs to the waiter, who gets it in Complete
                return false;
            }
        }

        public abstract void Complete();

        public void Fail(Exception error) => Error ??= error;

        protected abstract void Work(SqliteConnection connection);
    }

    private sealed class Job<T>(Func<SqliteConnection, T> work) : Job
    {
        // The waiter goes on where this is set, which is a thread of the pool and nobody's lock.
        private readonly TaskCompletionSource<T> _done = new();
        private T? _result;

        public Task<T> Task => _done.Task;

        public override void Complete()
        {
            if (Error is null)
                _done.SetResult(_result!);
            else
                _done.SetException(Error);
        }

        protected override void Work(SqliteConnection connection) => _result = work(connection);
    }

    private sealed class PlainJob(Action<SqliteConnection> work) : Job
    {
        private readonly TaskCompletionSource _done = new();

        public Task Task => _done.Task;

        public override void Complete()
        {
            if (Error is null)
                _done.SetResult();
            else
                _done.SetException(Error);
        }

        protected override void Work(SqliteConnection connection) => work(connection);
    }
}
