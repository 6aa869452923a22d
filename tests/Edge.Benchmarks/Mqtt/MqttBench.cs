using System.Buffers.Binary;
using System.Diagnostics;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Benchmarks.Mqtt;

/// <summary>Our broker and mosquitto in turns, each in its own process, under the same load from this one: payloads of 64 bytes, version 3.1.1.</summary>
internal static class MqttBench
{
    private const int Runs = 3;
    private const string Peer = "mosquitto (Debian), same run, same load";

    // Messages under way at most: far below what either broker would drop.
    private const int Window = 500;

    public static async Task<int> RunAsync(double seconds, int idleClients, CancellationToken cancellationToken)
    {
        var report = new Report("mqtt");
        await using (var ours = await BrokerProcess.StartOursAsync(cancellationToken))
        await using (var peer = await BrokerProcess.StartMosquittoAsync(cancellationToken))
        {
            foreach (var (qos, subscribers, batch, hasTarget) in ((MqttQos, int, int, bool)[])[
                (MqttQos.AtMostOnce, 1, 50, true), (MqttQos.AtMostOnce, 20, 50, true), (MqttQos.AtMostOnce, 100, 50, false), (MqttQos.AtMostOnce, 1, 1, false), (MqttQos.AtLeastOnce, 1, 50, false),
                (MqttQos.AtLeastOnce, 100, 50, false)])
            {
                var (our, their) = await BothAsync(ours, peer, broker => FloodAsync(broker, qos, subscribers, batch, seconds, cancellationToken));
                var name = $"QoS {(int)qos}, 1 to {subscribers}{(batch == 1 ? ", one message a write" : "")}";
                report.AtLeast($"{name}: deliveries per CPU-second of the broker", "/CPU-s", our.PerCpu, hasTarget ? their.PerCpu : null, their.PerCpu, Peer);
                report.AtLeast($"{name}: deliveries a second", "/s", our.PerSecond, null, their.PerSecond, Peer);
            }

            await LatenciesAsync(report, ours, peer, seconds, cancellationToken);
        }

        var oursKb = await IdleAsync(BrokerProcess.StartOursAsync, idleClients, cancellationToken);
        var peerKb = await IdleAsync(BrokerProcess.StartMosquittoAsync, idleClients, cancellationToken);
        report.AtMost($"memory of an idle client with one subscription ({idleClients} of them)", "KB", oursKb, 8, peerKb, Peer);
        await StreamsIdleAsync(report, idleClients, cancellationToken);
        report.Write();
        return 0;
    }

    /// <summary>Only the latencies.</summary>
    public static async Task<int> RunLatenciesAsync(double seconds, CancellationToken cancellationToken)
    {
        var report = new Report("mqtt-latency");
        await using (var ours = await BrokerProcess.StartOursAsync(cancellationToken))
        await using (var peer = await BrokerProcess.StartMosquittoAsync(cancellationToken))
            await LatenciesAsync(report, ours, peer, seconds, cancellationToken);
        report.Write();
        return 0;
    }

    private static async Task LatenciesAsync(Report report, BrokerProcess ours, BrokerProcess peer, double seconds, CancellationToken cancellationToken)
    {
        foreach (var (qos, subscribers) in ((MqttQos, int)[])[(MqttQos.AtMostOnce, 1), (MqttQos.AtMostOnce, 100), (MqttQos.AtLeastOnce, 1), (MqttQos.AtLeastOnce, 100)])
        {
            var (our, their) = await BothAsync(ours, peer, async broker => (await LatencyAsync(broker, qos, subscribers, seconds, cancellationToken), 0d));
            report.AtMost($"latency p99, QoS {(int)qos}, 1 to {subscribers}, {1000 / (subscribers == 1 ? 1 : 10)} messages a second", "ms", our.PerCpu, null, their.PerCpu, Peer);
        }
    }

    // In turns, so that both meet the same machine; the first turn only warms up.
    private static async Task<((double PerCpu, double PerSecond) Ours, (double PerCpu, double PerSecond) Theirs)> BothAsync(
        BrokerProcess ours, BrokerProcess peer, Func<BrokerProcess, Task<(double PerCpu, double PerSecond)>> run)
    {
        var mine = new List<(double PerCpu, double PerSecond)>();
        var theirs = new List<(double PerCpu, double PerSecond)>();
        for (var i = 0; i <= Runs; i++)
        {
            var (one, other) = (await run(ours), await run(peer));
            if (i == 0)
                continue;
            mine.Add(one);
            theirs.Add(other);
        }

        return (Middle(mine), Middle(theirs));
    }

    private static (double PerCpu, double PerSecond) Middle(List<(double PerCpu, double PerSecond)> all) => (Machine.Median(all.Select(one => one.PerCpu)), Machine.Median(all.Select(one => one.PerSecond)));

    private static async Task<(double PerCpu, double PerSecond)> FloodAsync(BrokerProcess broker, MqttQos qos, int subscribers, int batch, double seconds, CancellationToken cancellationToken)
    {
        var clients = new List<LoadClient>();
        var receiving = new List<Task>();
        try
        {
            for (var i = 0; i < subscribers; i++)
                clients.Add(await LoadClient.ConnectAsync(broker.Port, $"s{i}", cancellationToken, "bench/topic", qos));
            var publisher = await LoadClient.ConnectAsync(broker.Port, "p", cancellationToken);
            receiving.AddRange(clients.Select(one => one.ReceiveAsync()));
            receiving.Add(publisher.ReceiveAsync());
            clients.Add(publisher);

            // The window at QoS 1 is that of the packet identifiers under way, too.
            var window = qos == MqttQos.AtMostOnce ? Window : 100;
            var sent = 0L;
            var clock = Stopwatch.StartNew();
            var (cpu, started) = (broker.Figures.CpuSeconds(), 0L);
            while (clock.Elapsed.TotalSeconds < seconds)
            {
                var done = clients.Take(subscribers).Min(one => one.Received);
                if (qos != MqttQos.AtMostOnce)
                    done = Math.Min(done, publisher.Acked);
                if (sent - done > window - batch)
                {
                    if (clock.Elapsed.TotalSeconds > seconds * 20)
                        throw new BenchException("messages were lost");
                    await Task.Yield();
                    continue;
                }

                await publisher.SendAsync(Messages(qos, batch, sent), cancellationToken);
                sent += batch;
            }

            while (clients.Take(subscribers).Min(one => one.Received) < sent)
            {
                if (clock.Elapsed.TotalSeconds > seconds + 20)
                    throw new BenchException($"of {sent} messages only {clients.Take(subscribers).Min(one => one.Received)} came");
                await Task.Delay(1, cancellationToken);
            }

            var deliveries = (double)(sent - started) * subscribers;
            var elapsed = clock.Elapsed.TotalSeconds;
            return (deliveries / (broker.Figures.CpuSeconds() - cpu), deliveries / elapsed);
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
            await Task.WhenAll(receiving);
        }
    }

    private static byte[] Messages(MqttQos qos, int count, long first)
    {
        var one = MqttPublishWriter.ToPacket(new MqttPublishOut { Version = MqttVersion.V311, Topic = "bench/topic"u8, Payload = new byte[64], Qos = qos, PacketId = 1 });
        var all = new byte[one.Length * count];
        for (var i = 0; i < count; i++)
        {
            one.CopyTo(all, i * one.Length);
            if (qos != MqttQos.AtMostOnce)
                BinaryPrimitives.WriteUInt16BigEndian(all.AsSpan((i * one.Length) + 2 + 2 + 11), (ushort)(((first + i) % 60_000) + 1));
        }

        return all;
    }

    private static async Task<double> LatencyAsync(BrokerProcess broker, MqttQos qos, int subscribers, double seconds, CancellationToken cancellationToken)
    {
        var clients = new List<LoadClient>();
        var receiving = new List<Task>();
        var all = new List<double>[subscribers];
        try
        {
            for (var i = 0; i < subscribers; i++)
            {
                var mine = all[i] = [];
                var client = await LoadClient.ConnectAsync(broker.Port, $"l{i}", cancellationToken, "bench/latency", qos);
                client.OnPublish = payload => mine.Add(Stopwatch.GetElapsedTime(BinaryPrimitives.ReadInt64BigEndian(payload.Span)).TotalMilliseconds);
                clients.Add(client);
            }

            var publisher = await LoadClient.ConnectAsync(broker.Port, "p", cancellationToken);
            receiving.AddRange(clients.Select(one => one.ReceiveAsync()));
            receiving.Add(publisher.ReceiveAsync()); // its acknowledgements
            clients.Add(publisher);
            var payload = new byte[64];
            var sent = 0;
            var clock = Stopwatch.StartNew();
            while (clock.Elapsed.TotalSeconds < seconds)
            {
                BinaryPrimitives.WriteInt64BigEndian(payload, Stopwatch.GetTimestamp());
                var packet = new MqttPublishOut { Version = MqttVersion.V311, Topic = "bench/latency"u8, Payload = payload, Qos = qos, PacketId = (ushort)((sent % 60_000) + 1) };
                await publisher.SendAsync(MqttPublishWriter.ToPacket(packet), cancellationToken);
                sent++;
                await Task.Delay(subscribers == 1 ? 1 : 10, cancellationToken);
            }

            while (clients.Take(subscribers).Any(one => one.Received < sent))
                await Task.Delay(1, cancellationToken);
            return Machine.Share([.. all.SelectMany(one => one)], 0.99);
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
            await Task.WhenAll(receiving);
        }
    }

    private static async Task<double> IdleAsync(Func<CancellationToken, Task<BrokerProcess>> start, int count, CancellationToken cancellationToken)
    {
        await using var broker = await start(cancellationToken);
        var clients = new List<LoadClient>();
        try
        {
            // What the first hundred take is the program's own: code, pools.
            for (var i = 0; i < 100; i++)
                clients.Add(await LoadClient.ConnectAsync(broker.Port, $"warm-{i:d6}", cancellationToken, $"idle/{i:d6}"));
            await RestAsync(broker, cancellationToken);
            var before = broker.Figures.ResidentKb();
            for (var i = 0; i < count; i++)
                clients.Add(await LoadClient.ConnectAsync(broker.Port, $"idle-{i:d6}", cancellationToken, $"idle/device-{i:d6}"));
            await RestAsync(broker, cancellationToken);
            return (broker.Figures.ResidentKb() - before) / count;
        }
        finally
        {
            foreach (var client in clients)
                client.Dispose();
        }
    }

    /// <summary>Only the memory of idle clients over TLS and WebSocket.</summary>
    public static async Task<int> RunStreamsAsync(int idleClients, CancellationToken cancellationToken)
    {
        var report = new Report("mqtt-streams");
        await StreamsIdleAsync(report, idleClients, cancellationToken);
        report.Write();
        return 0;
    }

    private static async Task StreamsIdleAsync(Report report, int count, CancellationToken cancellationToken)
    {
        foreach (var (kind, name) in ((string, string)[])[("tls", "over TLS"), ("ws", "over WebSocket")])
            report.Plain($"memory of an idle client {name} with one subscription ({count} of them)", "KB", await StreamIdleAsync(kind, count, cancellationToken));
    }

    private static async Task<double> StreamIdleAsync(string kind, int count, CancellationToken cancellationToken)
    {
        await using var broker = await BrokerProcess.StartOursAsync(kind, cancellationToken);
        var clients = new List<IdleClient>();
        try
        {
            for (var i = 0; i < 100; i++)
                clients.Add(await IdleClient.ConnectAsync(kind, broker.Port, $"warm-{i:d6}", $"idle/{i:d6}", cancellationToken));
            await RestAsync(broker, cancellationToken);
            var before = broker.Figures.ResidentKb();
            for (var i = 0; i < count; i++)
                clients.Add(await IdleClient.ConnectAsync(kind, broker.Port, $"idle-{i:d6}", $"idle/device-{i:d6}", cancellationToken));
            await RestAsync(broker, cancellationToken);
            return (broker.Figures.ResidentKb() - before) / count;
        }
        finally
        {
            foreach (var client in clients)
                await client.DisposeAsync();
        }
    }

    // Until it gives back what the busy time took, and its memory no longer moves.
    private static async Task RestAsync(BrokerProcess broker, CancellationToken cancellationToken)
    {
        await Task.Delay(TimeSpan.FromSeconds(25), cancellationToken);
        _ = broker.Figures.ResidentKb();
    }
}
