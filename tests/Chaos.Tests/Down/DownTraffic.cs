using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Chaos.Tests;

/// <summary>Writers that change what the node gets, straight at the API: ConfigMaps, Secrets, pods and desired values of devices, among them deletes and recreations. Each
/// object has one writer, and a counter that also grows over recreations; a change counts as acknowledged when the API has answered it.</summary>
internal sealed class DownTraffic
{
    private const int Writers = 3;
    private const int ConfigMaps = 12;
    private const int Secrets = 8;
    private const int Pods = 4;
    private const int PauseMsMax = 45;

    /// <summary>One in so many changes deletes the object, where that is possible.</summary>
    private const int DeleteOneIn = 15;

    private readonly IKubeClient _api;
    private readonly Gate _gate = new();
    private readonly List<Written> _objects = [];
    private readonly List<Task> _running = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly int _seed;
    private long _acknowledged;
    private long _deletes;

    public DownTraffic(IKubeClient api, int seed)
    {
        _api = api;
        _seed = seed;
        _objects.AddRange(Enumerable.Range(0, ConfigMaps).Select(i => new Written(ResourceKind.ConfigMap, "configmap", $"c{i}")));
        _objects.AddRange(Enumerable.Range(0, Secrets).Select(i => new Written(ResourceKind.Secret, "secret", $"s{i}")));
        _objects.AddRange(Enumerable.Range(0, Pods).Select(i => new Written(ResourceKind.Pod, "pod", $"p{i}")));
        _objects.AddRange(Enumerable.Range(0, Devices.Count).Select(i => new Written(ResourceKind.Device, "device", Devices.Name(i))));
    }

    /// <summary>Changes that the API answered.</summary>
    public long Acknowledged => Interlocked.Read(ref _acknowledged);

    /// <summary>Those of them that were deletes.</summary>
    public long Deletes => Interlocked.Read(ref _deletes);

    /// <summary>Creates what is written to, and a pod that uses every ConfigMap and Secret all the time.</summary>
    public async Task PrepareAsync()
    {
        await _api.CreateAsync(ResourceKind.DeviceModel, "default", Devices.Model(), CancellationToken.None);
        await _api.CreateAsync(ResourceKind.Pod, "default", User(), CancellationToken.None);
        foreach (var one in _objects)
            await ChangeAsync(one, isDelete: false);
    }

    public void Start()
    {
        for (var writer = 0; writer < Writers; writer++)
        {
            var number = writer;
            _running.Add(Task.Run(() => WriteAsync([.. _objects.Where((_, i) => i % Writers == number)], new Random(_seed + number))));
        }
    }

    /// <summary>Holds the writers; completes once none waits for the API.</summary>
    public Task PauseAsync() => _gate.CloseAsync();

    public void Resume() => _gate.Open();

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_running);
    }

    /// <summary>What of the newest state is not at the edge; empty when it has exactly that. Only while the writers are held.</summary>
    public IReadOnlyList<string> Missing(IReadOnlyDictionary<string, (string Uid, long Count)> edge)
    {
        ThrowIfBroken();
        var missing = new List<string>();
        foreach (var one in _objects)
        {
            var has = edge.TryGetValue(one.Key, out var there);
            if (one.Uid.Length == 0 && has)
                missing.Add($"{one.Key} was deleted (count {one.Count}), the edge has {there.Uid} with count {there.Count}");
            else if (one.Uid.Length > 0 && (!has || there.Uid != one.Uid || there.Count != one.Count))
                missing.Add($"{one.Key} is {one.Uid} with count {one.Count}, the edge has {(has ? $"{there.Uid} with count {there.Count}" : "nothing")}");
        }

        return missing;
    }

    /// <summary>Throws what ended a writer: the API must answer each change.</summary>
    public void ThrowIfBroken()
    {
        foreach (var task in _running.Where(task => task.IsFaulted))
            task.GetAwaiter().GetResult();
    }

    private async Task WriteAsync(Written[] mine, Random random)
    {
        try
        {
            while (true)
            {
                await _gate.EnterAsync(_stop.Token);
                try
                {
                    var one = mine[random.Next(mine.Length)];
                    await ChangeAsync(one, one.Uid.Length > 0 && one.Kind != ResourceKind.Device && random.Next(DeleteOneIn) == 0);
                }
                finally
                {
                    _gate.Leave();
                }

                await Task.Delay(TimeSpan.FromMilliseconds(random.Next(PauseMsMax)), TimeProvider.System, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
    }

    private async Task ChangeAsync(Written one, bool isDelete)
    {
        if (isDelete)
        {
            // A pod's kubelet would have to confirm otherwise, and nobody runs pods here.
            var options = one.Kind == ResourceKind.Pod ? new JsonObject { ["gracePeriodSeconds"] = 0 } : null;
            await _api.DeleteAsync(one.Kind, "default", one.Name, options, CancellationToken.None);
            one.Uid = "";
            Interlocked.Increment(ref _deletes);
        }
        else
        {
            var count = one.Count + 1;
            var answer = one.Uid.Length == 0
                ? await _api.CreateAsync(one.Kind, "default", Whole(one, count), CancellationToken.None)
                : await _api.PatchAsync(
                    one.Kind, "default", one.Name, one.Kind == ResourceKind.Device ? PatchKind.Json : PatchKind.Merge, Encoding.UTF8.GetBytes(Patch(one, count).ToJsonString()), null, CancellationToken.None);
            (one.Uid, one.Count) = (answer.Uid(), count);
        }

        Interlocked.Increment(ref _acknowledged);
    }

    private static JsonObject Whole(Written one, long count)
    {
        if (one.Kind == ResourceKind.Device)
            return Devices.Device(one.Name, count);
        var whole = Patch(one, count).AsObject();
        whole["apiVersion"] = one.Kind.ApiVersion;
        whole["kind"] = one.Kind.Kind;
        whole["metadata"]!["name"] = one.Name;
        if (one.Kind == ResourceKind.Pod)
            whole["spec"] = new JsonObject { ["nodeName"] = ChaosEdge.Node, ["containers"] = new JsonArray(new JsonObject { ["name"] = "main", ["image"] = "edge.local/none:1" }) };
        return whole;
    }

    private static JsonNode Patch(Written one, long count)
    {
        if (one.Kind == ResourceKind.Device)
            return new JsonArray(new JsonObject { ["op"] = "replace", ["path"] = "/spec/properties/0/desired/value", ["value"] = $"{count}" });
        var patch = new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["n"] = $"{count}" } } };
        if (one.Kind == ResourceKind.ConfigMap)
            patch["data"] = new JsonObject { ["n"] = $"{count}" };
        else if (one.Kind == ResourceKind.Secret)
            patch["data"] = new JsonObject { ["n"] = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{count}")) };
        return patch;
    }

    private JsonObject User()
    {
        JsonNode Volume(Written one) => new JsonObject
        {
            ["name"] = one.Name,
            [one.Type == "secret" ? "secret" : "configMap"] = new JsonObject { [one.Type == "secret" ? "secretName" : "name"] = one.Name },
        };
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject { ["name"] = "user" },
            ["spec"] = new JsonObject
            {
                ["nodeName"] = ChaosEdge.Node,
                ["containers"] = new JsonArray(new JsonObject { ["name"] = "main", ["image"] = "edge.local/none:1" }),
                ["volumes"] = new JsonArray([.. _objects.Where(one => one.Type is "configmap" or "secret").Select(Volume)]),
            },
        };
    }

    /// <summary>An object and its newest acknowledged state; its writer alone changes it.</summary>
    private sealed class Written(ResourceKind kind, string type, string name)
    {
        public ResourceKind Kind { get; } = kind;

        public string Type { get; } = type;

        public string Name { get; } = name;

        public string Key { get; } = $"{type}/{name}";

        /// <summary>Empty while it is deleted.</summary>
        public string Uid { get; set; } = "";

        public long Count { get; set; }
    }
}
