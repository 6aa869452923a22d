using System.Diagnostics;
using System.Text;
using Edge.Benchmarks.Hub;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Api;

/// <summary>Many watchers of one namespace while it changes: what arrives, how late, and what it costs the server.</summary>
internal static class WatchBench
{
    private const int ChangesPerSecond = 100;

    public static async Task RunAsync(CloudProcess cloud, KubeClientOptions options, int watchers, double seconds, Report report, CancellationToken cancellationToken)
    {
        using var writer = WireClient.Connect(options);
        writer.Post("/api/v1/namespaces", """{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"watched"}}"""u8.ToArray());
        var clients = new List<WireClient>();
        var sent = new long[(int)(ChangesPerSecond * seconds)];
        var (arrived, last) = (0L, 0L);
        var delays = new List<double>();
        try
        {
            var kb = cloud.ResidentKb();
            var readers = new List<Task>();
            for (var i = 0; i < watchers; i++)
            {
                var client = WireClient.Connect(options);
                clients.Add(client);
                // Secrets, because a namespace has none of its own: the first event that arrives is the first change.
                var stream = client.Watch("/api/v1/namespaces/watched/secrets?watch=true");
                var isTimed = i % 50 == 0;
                readers.Add(ReadAsync(stream, isTimed));
            }

            var perWatcher = (cloud.ResidentKb() - kb) / watchers;
            var cpu = cloud.CpuSeconds();
            var clock = Stopwatch.StartNew();
            for (var i = 0; i < sent.Length; i++)
            {
                var due = TimeSpan.FromSeconds((double)i / ChangesPerSecond) - clock.Elapsed;
                if (due > TimeSpan.Zero)
                    await Task.Delay(due, cancellationToken);
                Volatile.Write(ref sent[i], Stopwatch.GetTimestamp());
                writer.Post("/api/v1/namespaces/watched/secrets", Encoding.UTF8.GetBytes($$$"""{"apiVersion":"v1","kind":"Secret","metadata":{"name":"change-{{{i:d6}}}"},"stringData":{"a":"b"}}"""));
            }

            var wrote = clock.Elapsed.TotalSeconds;
            var all = (long)sent.Length * watchers;
            while (Interlocked.Read(ref arrived) < all && clock.Elapsed.TotalSeconds < wrote + 60)
                await Task.Delay(50, cancellationToken);
            var took = Stopwatch.GetElapsedTime(sent[0], Interlocked.Read(ref last)).TotalSeconds;
            report.Plain($"{watchers} watchers, {ChangesPerSecond} changes/s asked: changes/s written", "changes/s", sent.Length / wrote);
            report.Plain("events that arrived, of all", "%", 100.0 * Interlocked.Read(ref arrived) / all);
            report.Plain("events a second, all watchers", "events/s", Interlocked.Read(ref arrived) / took);
            report.Plain("processor time of 100,000 events", "CPU-s", (cloud.CpuSeconds() - cpu) * 100_000 / Math.Max(1, Interlocked.Read(ref arrived)));
            lock (delays)
            {
                report.Plain("from the write to the watcher, p50", "ms", delays.Count == 0 ? null : Machine.Median(delays));
                report.Plain("from the write to the watcher, p99", "ms", delays.Count == 0 ? null : Machine.Share(delays, 0.99));
            }

            report.Plain("memory of a watcher", "KB", perWatcher);
            clients.ForEach(client => client.Dispose());
            await Task.WhenAll(readers);
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }

        // Events are counted by their ends of line: in JSON there is no other bare one. (Chunks end with \r\n after it.)
        async Task ReadAsync(Stream stream, bool isTimed)
        {
            var buffer = new byte[16 * 1024];
            var count = 0;
            try
            {
                while (true)
                {
                    var read = await stream.ReadAsync(buffer, cancellationToken);
                    if (read == 0)
                        return;
                    var now = Stopwatch.GetTimestamp();
                    var events = buffer.AsSpan(0, read).Count("}\n"u8);
                    for (var i = 0; isTimed && i < events && count + i < sent.Length; i++)
                    {
                        lock (delays)
                            delays.Add(Stopwatch.GetElapsedTime(Volatile.Read(ref sent[count + i]), now).TotalMilliseconds);
                    }

                    count += events;
                    Interlocked.Add(ref arrived, events);
                    Interlocked.Exchange(ref last, now);
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException)
            {
                // Closed at the end.
            }
        }
    }
}
