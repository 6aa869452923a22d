using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Gslb.Module;

/// <summary>Writes the newest status of each object, those that changed alone, at most once a second each round; what waits is replaced by what is newer.</summary>
internal sealed class StatusWriter(IKubeClient kube, Func<bool> mayWrite, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan s_between = TimeSpan.FromSeconds(1);

    // One wake for any number of news.
    private readonly Channel<bool> _news = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private readonly Dictionary<(string Kind, string Key), ObjectStatus> _written = [];
    private volatile IReadOnlyDictionary<(string Kind, string Key), ObjectStatus> _wanted = new Dictionary<(string, string), ObjectStatus>();

    public void Set(IReadOnlyDictionary<(string Kind, string Key), ObjectStatus> statuses)
    {
        _wanted = statuses;
        _news.Writer.TryWrite(true);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var isBehind = false;
        while (true)
        {
            if (!isBehind)
                await _news.Reader.ReadAsync(cancellationToken);
            if (!mayWrite())
            {
                // Another one writes; what it wrote is not known when this one's turn comes.
                _written.Clear();
                isBehind = true;
                await Task.Delay(s_between, time, cancellationToken);
                continue;
            }

            var wanted = _wanted;
            foreach (var gone in _written.Keys.Where(key => !wanted.ContainsKey(key)).ToList())
                _written.Remove(gone);
            isBehind = false;
            foreach (var (key, status) in wanted)
            {
                if (_written.TryGetValue(key, out var before) && before.IsSame(status))
                    continue;
                isBehind |= !await TryWriteAsync(key.Kind, key.Key, status, before, cancellationToken);
            }

            await Task.Delay(s_between, time, cancellationToken);
        }
    }

    private async Task<bool> TryWriteAsync(string kindName, string key, ObjectStatus status, ObjectStatus? before, CancellationToken cancellationToken)
    {
        var kind = kindName == GslbKinds.Zone.Kind ? GslbKinds.Zone : kindName == GslbKinds.GlobalService.Kind ? GslbKinds.GlobalService : GslbKinds.LocationMap;
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var (@namespace, name) = slash < 0 ? (null, key) : (key[..slash], key[(slash + 1)..]);
        if (!status.IsAccepted && before?.Message != status.Message)
            GslbLog.NotAccepted(logger, kindName, key, status.Message);
        try
        {
            if (await kube.TryGetAsync(kind, @namespace, name, cancellationToken) is not { } stored)
                return true; // deleted meanwhile
            var wanted = Write(status, stored.At("status"), kind == GslbKinds.GlobalService);
            if (!JsonNode.DeepEquals(wanted, stored.At("status")))
            {
                var patch = Encoding.UTF8.GetBytes(new JsonObject { ["status"] = wanted }.ToJsonString());
                await kube.PatchAsync(kind, @namespace, name, PatchKind.Merge, patch, "status", cancellationToken);
            }

            _written[(kindName, key)] = status;
            return true;
        }
        catch (KubeException e) when (e.Code == 404)
        {
            return true;
        }
        catch (KubeException e)
        {
            GslbLog.StatusNotWritten(logger, kindName, key, e.Message);
            return false;
        }
    }

    private JsonObject Write(ObjectStatus status, JsonNode? stored, bool hasEndpoints)
    {
        var result = new JsonObject
        {
            ["observedGeneration"] = status.Generation,
            ["conditions"] = new JsonArray(
                Condition(stored, "Accepted", status.IsAccepted, status.Reason, status.Message, status.Generation), Condition(stored, "Ready", status.IsReady, status.ReadyReason, status.ReadyMessage, status.Generation)),
        };
        if (hasEndpoints || status.Hosts.Count > 0 || stored?["hosts"] is not null)
            result["hosts"] = new JsonArray([.. status.Hosts.Select(host => (JsonNode)host)]);
        if (hasEndpoints)
        {
            if (status.Latencies.Count > 0 || stored?["latencies"] is not null) // what is left out of a merge patch stays
                result["latencies"] = new JsonArray([.. status.Latencies.Select(one => (JsonNode)one.ToJson())]);
            result["endpoints"] = new JsonArray([.. status.Endpoints.Select(one => (JsonNode)one.ToJson())]);
        }

        return result;
    }

    private JsonObject Condition(JsonNode? stored, string type, bool isTrue, string reason, string message, long generation)
    {
        var text = isTrue ? "True" : "False";
        var before = stored.Items("conditions").FirstOrDefault(one => one.Text("type") == type);
        return new JsonObject
        {
            ["type"] = type, ["status"] = text, ["reason"] = reason, ["message"] = message, ["observedGeneration"] = generation,
            ["lastTransitionTime"] = before.Text("status") == text ? before.Text("lastTransitionTime") : KubeObject.Time(time.GetUtcNow()),
        };
    }
}
