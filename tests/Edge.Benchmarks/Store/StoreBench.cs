using System.Diagnostics;
using System.Text;
using Edge.Core;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Benchmarks.Store;

/// <summary>Durable writes a second: MetaManager with many writers at once, against plain SQLite with a transaction for each of the same rows.
/// Both WAL with synchronous=FULL, in the same run, in turns.</summary>
internal static class StoreBench
{
    private const int Objects = 10_000;
    private const int Runs = 3;

    public static async Task<int> RunAsync(TimeSpan each, int writers, CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("edge-bench-store-").FullName;
        try
        {
            var ours = new List<double>();
            var peers = new List<double>();
            var cpu = new List<double>();
            // The first opening of a database in a process chooses the native library, for the peer too.
            await using (var database = EdgeDatabase.Open(Path.Combine(directory, "first.db"), TimeProvider.System))
                _ = database.Read(connection => connection.ServerVersion);
            for (var run = 0; run < Runs; run++)
            {
                peers.Add(OnePerTransaction(Path.Combine(directory, $"peer{run}.db"), each));
                var before = Process.GetCurrentProcess().TotalProcessorTime;
                var (rate, written) = await GroupCommitAsync(Path.Combine(directory, $"ours{run}.db"), each, writers, cancellationToken);
                ours.Add(rate);
                cpu.Add(written / (Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds);
                Console.Error.WriteLine($"run {run + 1}: MetaManager {ours[^1]:0}/s, one transaction a write {peers[^1]:0}/s");
            }

            const string Peer = "SQLite, one transaction per write, same rows, WAL, synchronous=FULL, prepared statement";
            var report = new Report("store");
            report.Plain($"durable writes of MetaManager, {writers} writers", "writes/s", Machine.Median(ours));
            report.Plain("the same per CPU-second, message reading included", "writes/CPU-s", Machine.Median(cpu));
            var (our, peer) = (Machine.Median(ours), Machine.Median(peers));
            report.AtLeast("durable writes, MetaManager by one transaction per write", "times", our / peer, 20);
            report.AtLeast("durable writes, beside the peer", "writes/s", our, 20 * peer, peer, Peer);
            report.Write();
            return 0;
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Key(int i) => $"default/{ResourceTypes.ConfigMap}/settings-{i}";

    // About 1 KB, as a small ConfigMap is.
    private static byte[] Json(int i, long version)
        => Encoding.UTF8.GetBytes(
            $$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings-{{{i}}}","namespace":"default","uid":"00000000-0000-4000-8000-{{{i:d12}}}","resourceVersion":"{{{version}}}"},"data":{"config":"{{{new string('x', 800)}}}"}}""");

    private static async Task<(double Rate, long Written)> GroupCommitAsync(string path, TimeSpan each, int writers, CancellationToken cancellationToken)
    {
        await using var database = EdgeDatabase.Open(path, TimeProvider.System);
        var meta = new MetaService(new MetaManagerOptions { DatabasePath = path }, database, new NoHub(), TimeProvider.System, NullLoggerFactory.Instance);
        var version = 0L;
        var written = 0L;
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, writers).Select(async writer =>
        {
            await Task.Yield();
            for (var i = writer; clock.Elapsed < each; i = (i + writers) % Objects)
            {
                var next = Interlocked.Increment(ref version);
                var message = Message.Create(
                    TimeProvider.System, Sources.EdgeController, Groups.Resource, Operations.Update, Key(i), Json(i, next), next.ToString(System.Globalization.CultureInfo.InvariantCulture));
                var answer = await meta.HandleAsync(message);
                if (answer?.Operation != Operations.Response)
                    throw new InvalidOperationException($"a write was refused: {answer?.Operation}");
                Interlocked.Increment(ref written);
            }
        }));
        cancellationToken.ThrowIfCancellationRequested();
        return (written / clock.Elapsed.TotalSeconds, written);
    }

    private static double OnePerTransaction(string path, TimeSpan each)
    {
        using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        connection.Open();
        Execute(connection, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=1000;"
            + "CREATE TABLE objects(key TEXT PRIMARY KEY, type TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL, seq INTEGER NOT NULL, json BLOB NOT NULL);"
            + "CREATE INDEX objects_type ON objects(type, key)");
        using var put = connection.CreateCommand();
        put.CommandText = "INSERT OR REPLACE INTO objects(key, type, ns, name, uid, rv, seq, json) VALUES($key, 'configmap', 'default', $name, $uid, $rv, $rv, $json)";
        foreach (var name in (string[])["$key", "$name", "$uid", "$rv", "$json"])
            put.Parameters.Add(new SqliteParameter { ParameterName = name });
        var written = 0L;
        var clock = Stopwatch.StartNew();
        for (var i = 0; clock.Elapsed < each; i = (i + 1) % Objects)
        {
            written++;
            put.Parameters[0].Value = Key(i);
            put.Parameters[1].Value = $"settings-{i}";
            put.Parameters[2].Value = $"00000000-0000-4000-8000-{i:d12}";
            put.Parameters[3].Value = written;
            put.Parameters[4].Value = Json(i, written);
            put.ExecuteNonQuery(); // outside BEGIN each statement is a transaction
        }

        return written / clock.Elapsed.TotalSeconds;
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    // There is no cloud here: nothing is asked of it.
    private sealed class NoHub : IHubLink
    {
        public event Action<UplinkRejection>? EntryRejected
        {
            add { }
            remove { }
        }

        public event Action<bool>? LinkChanged
        {
            add { }
            remove { }
        }

        public bool IsConnected => false;

        public bool IsEdgeWire => false;

        public long Generation => 0;

        public Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken) => new TaskCompletionSource<long>().Task;

        public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => throw new InvalidOperationException("nothing is posted here");

        public ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken) => throw new InvalidOperationException("nothing is posted here");

        public ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken) => ValueTask.FromResult(true);

        public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("not connected");

        public Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("not connected");

        public ValueTask SendAsync(Message message, CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken) => ValueTask.CompletedTask;
    }
}
