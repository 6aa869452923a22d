using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Router;

/// <summary>Counts what Rules did and adds it to their status once a second, whatever the rate of messages. Several cloudcores add to the same figures. What was counted in the last second is
/// lost with the process.</summary>
internal sealed class RuleStatusWriter(IKubeClient kube, TimeProvider time, ILogger logger) : IAsyncDisposable
{
    private const int ErrorsMax = 10;
    private const int ErrorLengthMax = 500;
    private static readonly TimeSpan s_between = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Namespace, string Name), Counts> _counts = []; // one entry a Rule
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    public void Start() => _loop = RunAsync(_stop.Token);

    /// <summary>One message was taken by its target, or with <paramref name="error"/> was not. <paramref name="isMessage"/> false: the rule itself is wrong, and nothing is counted.</summary>
    public void Add(string @namespace, string name, string? error, bool isMessage = true)
    {
        lock (_gate)
        {
            if (!_counts.TryGetValue((@namespace, name), out var counts))
                _counts[(@namespace, name)] = counts = new Counts();
            if (isMessage && error is null)
                counts.Success++;
            else if (isMessage)
                counts.Fail++;
            if (error is null)
                return;
            counts.Errors.Add($"{KubeObject.Time(time.GetUtcNow())} {(error.Length > ErrorLengthMax ? error[..ErrorLengthMax] : error)}");
            if (counts.Errors.Count > ErrorsMax)
                counts.Errors.RemoveAt(0);
        }
    }

    /// <summary>Writes what is counted and not written.</summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        List<KeyValuePair<(string Namespace, string Name), Counts>> all;
        lock (_gate)
        {
            all = [.. _counts];
            _counts.Clear();
        }

        foreach (var ((ns, name), counts) in all)
        {
            if (!await TryWriteAsync(ns, name, counts, cancellationToken))
                PutBack((ns, name), counts);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        using var limit = new CancellationTokenSource(s_between, time);
        try
        {
            await FlushAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            // The API does not answer; stopping does not wait for figures.
        }

        _stop.Dispose();
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await Task.Delay(s_between, time, cancellationToken);
                await FlushAsync(cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task<bool> TryWriteAsync(string ns, string name, Counts counts, CancellationToken cancellationToken)
    {
        try
        {
            if (await kube.TryGetAsync(RuleKinds.Rule, ns, name, cancellationToken) is not { } rule)
                return true; // deleted
            var status = new JsonObject
            {
                ["successMessages"] = rule.Number(0, "status", "successMessages") + counts.Success,
                ["failMessages"] = rule.Number(0, "status", "failMessages") + counts.Fail,
            };
            if (counts.Errors.Count > 0)
                status["errors"] = new JsonArray([.. rule.Texts("status", "errors").Concat(counts.Errors).TakeLast(ErrorsMax).Select(one => (JsonNode)one)]);
            var patch = new JsonObject { ["metadata"] = new JsonObject { ["resourceVersion"] = rule.ResourceVersion() }, ["status"] = status };
            await kube.PatchAsync(RuleKinds.Rule, ns, name, PatchKind.Merge, JsonBytes.Of(patch), null, cancellationToken);
            return true;
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            return e.Code == 404;
        }
        catch (KubeException e)
        {
            RouterLog.StatusNotWritten(logger, ns, name, e.Message);
            return false;
        }
    }

    private void PutBack((string, string) key, Counts counts)
    {
        lock (_gate)
        {
            if (_counts.TryGetValue(key, out var newer))
            {
                counts.Success += newer.Success;
                counts.Fail += newer.Fail;
                counts.Errors.AddRange(newer.Errors);
                counts.Errors.RemoveRange(0, Math.Max(0, counts.Errors.Count - ErrorsMax));
            }

            _counts[key] = counts;
        }
    }

    private sealed class Counts
    {
        public long Success { get; set; }

        public long Fail { get; set; }

        public List<string> Errors { get; } = [];
    }
}
