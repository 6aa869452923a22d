using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Fleet;

/// <summary>Commands as JSON lines, e.g. <c>{"id":1,"do":"wait-stored","count":1000,"seconds":60}</c>; one answer line each, with the command's id.
/// Commands run side by side, so one may look while another waits. <c>docs/benchmarks.md</c> lists them.</summary>
internal sealed class Control(Fleet fleet, TextReader input, TextWriter output) : IDisposable
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(5);
    private readonly SemaphoreSlim _writing = new(1, 1);

    /// <summary>Serves until <c>stop</c>, the end of the input, or cancellation.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var running = new List<Task>();
        while (await input.ReadLineAsync(cancellationToken) is { } line)
        {
            if (line.Length == 0)
                continue;
            JsonObject? command;
            try
            {
                command = JsonNode.Parse(line) as JsonObject;
            }
            catch (JsonException)
            {
                command = null;
            }

            if (command is null)
            {
                await AnswerAsync(null, new JsonObject { ["error"] = "a command is one JSON object on one line" }, cancellationToken);
                continue;
            }

            if (Text(command, "do") == "stop")
            {
                await AnswerAsync(command, [], cancellationToken);
                break;
            }

            running.RemoveAll(task => task.IsCompleted);
            running.Add(ServeAsync(command, cancellationToken));
        }

        await Task.WhenAll(running);
    }

    public void Dispose() => _writing.Dispose();

    private async Task ServeAsync(JsonObject command, CancellationToken cancellationToken)
    {
        JsonObject answer;
        try
        {
            answer = await PerformAsync(command, cancellationToken);
        }
        catch (ArgumentException e)
        {
            answer = new JsonObject { ["error"] = e.Message };
        }

        await AnswerAsync(command, answer, cancellationToken);
    }

    private async Task<JsonObject> PerformAsync(JsonObject command, CancellationToken cancellationToken)
    {
        switch (Text(command, "do"))
        {
            case "start":
                fleet.Start();
                return [];
            case "snapshot":
                return fleet.Snapshot();
            case "stored":
                return new JsonObject { ["count"] = fleet.Counts.StoredOf(Text(command, "type")) };
            case "wait-connected":
                return await WaitAsync(command, () => fleet.ConnectedCount >= Number(command, "count", fleet.Nodes.Count), cancellationToken);
            case "wait-in-sync":
                return await WaitAsync(command, () => fleet.InSyncCount >= Number(command, "count", fleet.Nodes.Count), cancellationToken);
            case "wait-stored":
                return await WaitAsync(command, () => (Text(command, "type") is { Length: > 0 } type ? fleet.Counts.StoredOf(type) : fleet.Counts.Stored) >= Number(command, "count", 0), cancellationToken);
            case "wait-acked":
                return await WaitAsync(command, () => fleet.Counts.UpAcked >= Number(command, "count", 0), cancellationToken);
            case "wait-version":
                return await WaitVersionAsync(command, cancellationToken);
            case "cut":
                var from = (int)Number(command, "from", 0);
                foreach (var node in fleet.Nodes.Skip(from))
                    node.Cut();
                return [];
            case "leave":
                Node(command).Leave();
                return await WaitAsync(command, () => !Node(command).IsConnected, cancellationToken);
            case "return":
                Node(command).Return();
                return [];
            case "mark":
                Node(command).Meta.Mark(Text(command, "type"));
                return [];
            case "measured":
                var (first, last, commits) = Node(command).Meta.Measured();
                return new JsonObject { ["firstArrivalMs"] = first, ["lastCommitMs"] = last, ["commits"] = commits };
            case "wait-measured":
                return await WaitAsync(command, () => Node(command).Meta.Measured().Commits >= Number(command, "count", 1), cancellationToken);
            case "report":
                return await ReportAsync(command, cancellationToken);
            default:
                throw new ArgumentException($"'{Text(command, "do")}' is no command");
        }
    }

    // Reports of the first nodes, each as fast as its queue stores them; returns when all are on disk.
    private async Task<JsonObject> ReportAsync(JsonObject command, CancellationToken cancellationToken)
    {
        var nodes = (int)Number(command, "nodes", 1);
        var each = (int)Number(command, "each", 1);
        await Task.WhenAll(fleet.Nodes.Take(nodes).Select(async node =>
        {
            for (var i = 0; i < each; i++)
                await node.ReportAsync(replaces: false, cancellationToken);
        }));
        return new JsonObject { ["posted"] = (long)Math.Min(nodes, fleet.Nodes.Count) * each };
    }

    private async Task<JsonObject> WaitVersionAsync(JsonObject command, CancellationToken cancellationToken)
    {
        var node = Node(command);
        var key = Text(command, "key");
        var version = Number(command, "version", 0);
        var answer = await WaitAsync(command, () => node.Meta.Find(key) is { } entry && entry.Version >= version, cancellationToken);
        answer["atMs"] = node.Meta.Find(key)?.AtMs;
        return answer;
    }

    private async Task<JsonObject> WaitAsync(JsonObject command, Func<bool> isSo, CancellationToken cancellationToken)
    {
        var began = fleet.Time.GetTimestamp();
        var limit = TimeSpan.FromSeconds(Number(command, "seconds", 60));
        while (!isSo())
        {
            if (fleet.Time.GetElapsedTime(began) > limit)
                return new JsonObject { ["timedOut"] = true };
            await Task.Delay(s_look, fleet.Time, cancellationToken);
        }

        return new JsonObject { ["atMs"] = (fleet.Time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalMilliseconds };
    }

    private async Task AnswerAsync(JsonObject? command, JsonObject answer, CancellationToken cancellationToken)
    {
        if (command?["id"] is { } id)
            answer["id"] = id.DeepClone();
        await _writing.WaitAsync(cancellationToken);
        try
        {
            await output.WriteLineAsync(answer.ToJsonString().AsMemory(), cancellationToken);
            await output.FlushAsync(cancellationToken);
        }
        finally
        {
            _writing.Release();
        }
    }

    private HollowNode Node(JsonObject command)
    {
        var index = Number(command, "node", -1);
        return index >= 0 && index < fleet.Nodes.Count ? fleet.Nodes[(int)index] : throw new ArgumentException($"node must be from 0 to {fleet.Nodes.Count - 1}");
    }

    private static string Text(JsonObject command, string key) => command[key] is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    private static long Number(JsonObject command, string key, long absent) => command[key] is JsonValue value && value.TryGetValue<long>(out var number) ? number : absent;
}
