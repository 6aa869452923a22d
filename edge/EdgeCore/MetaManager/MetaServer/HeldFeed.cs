using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Core.Edged;
using Edge.Core.Edged.StaticPods;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Keeps <see cref="HeldObjects"/> as the store is: its one writer. Pods are shown with the status that this node said last, and static pods as themselves.</summary>
internal sealed class HeldFeed(MetaService meta, HeldObjects held, IReadOnlyList<HeldKind> kinds)
{
    private static readonly LocalRows s_versions = new("metaserver-version");

    // One is enough: whoever reads it looks at all rows.
    private readonly Channel<bool> _rowsChanged = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly Dictionary<string, ResourceKind> _kindOf = kinds.ToDictionary(kind => kind.Type, kind => kind.Kind);
    private readonly Dictionary<string, JsonObject> _pods = new(StringComparer.Ordinal); // as the cloud wants them, by key
    private HashSet<(string Namespace, string Name)> _shownPods = [];

    /// <summary>A version above all that were given out before this start; stored before it is used.</summary>
    public static async Task<long> FirstVersionAsync(IMetaStore meta, TimeProvider time, CancellationToken cancellationToken)
    {
        const string key = "first";
        // A million changes a millisecond would have to happen until two starts could meet.
        var first = time.GetUtcNow().ToUnixTimeMilliseconds() << 20;
        if (s_versions.Get(meta, key) is { } row && row.Number(0, "version") is var last and > 0 && last >= first)
            first = last + (1L << 32); // the clock was set back
        first = Math.Max(first, HeldObjects.VersionMin);
        await s_versions.PutAsync(meta, key, new JsonObject { ["version"] = first }, cancellationToken);
        return first;
    }

    /// <summary>Runs until cancelled. <paramref name="filled"/> is called once what the store has is taken.</summary>
    public async Task RunAsync(Action filled, CancellationToken cancellationToken)
    {
        void Changed(string room)
        {
            if (room == PodRows.Statuses.Room || room == PodRows.Statics.Room)
                _rowsChanged.Writer.TryWrite(true);
        }

        meta.LocalChanged += Changed;
        try
        {
            var changes = meta.Subscribe([.. _kindOf.Keys]);
            Take(changes);
            ShowPods();
            filled();
            var objects = changes.WaitToReadAsync(cancellationToken).AsTask();
            var rows = _rowsChanged.Reader.WaitToReadAsync(cancellationToken).AsTask();
            while (true)
            {
                await await Task.WhenAny(objects, rows);
                var pods = rows.IsCompleted;
                if (rows.IsCompleted)
                {
                    _rowsChanged.Reader.TryRead(out _);
                    rows = _rowsChanged.Reader.WaitToReadAsync(cancellationToken).AsTask();
                }

                if (objects.IsCompleted)
                {
                    pods |= Take(changes);
                    objects = changes.WaitToReadAsync(cancellationToken).AsTask();
                }

                if (pods)
                    ShowPods();
            }
        }
        finally
        {
            meta.LocalChanged -= Changed;
        }
    }

    // True when a pod was among them.
    private bool Take(ChannelReader<MetaChange> changes)
    {
        var pods = false;
        while (changes.TryRead(out var change))
        {
            var (obj, json) = (change.Object, change.Deleted ? null : Read(change.Object));
            if (obj.Type == ResourceTypes.Pod)
            {
                pods = true;
                if (json is null)
                    _pods.Remove(obj.Key);
                else
                    _pods[obj.Key] = json;
            }
            else if (json is null)
            {
                held.Remove(obj.Type, obj.Namespace == ResourcePath.ClusterScope ? "" : obj.Namespace, obj.Name);
            }
            else
            {
                held.Put(obj.Type, json);
            }
        }

        return pods;
    }

    private void ShowPods()
    {
        var statuses = PodRows.Statuses.Load(meta);
        var shown = new HashSet<(string, string)>();
        void Show(JsonObject pod)
        {
            if (statuses.TryGetValue(pod.Uid(), out var status))
                pod["status"] = status.DeepClone();
            shown.Add((pod.Namespace(), pod.Name()));
            held.Put(ResourceTypes.Pod, pod);
        }

        // In their mirrors' places, with the mirrors' versions.
        var own = new HashSet<(string, string)>();
        foreach (var pod in PodRows.Statics.Load(meta).Values)
        {
            own.Add((pod.Namespace(), pod.Name()));
            Show(Typed(pod, ResourceKind.Pod));
        }

        foreach (var pod in _pods.Values)
        {
            if (!StaticPodFile.IsMirror(pod) && !own.Contains((pod.Namespace(), pod.Name())))
                Show((JsonObject)pod.DeepClone());
        }

        foreach (var (ns, name) in _shownPods.Except(shown))
            held.Remove(ResourceTypes.Pod, ns, name);
        _shownPods = shown;
    }

    private JsonObject? Read(MetaObject stored)
    {
        try
        {
            if (JsonNode.Parse(stored.Json.Span) is not JsonObject json)
                return null;
            // Where the object itself lacks them, the store's own are true.
            var metadata = json.Child("metadata");
            metadata["name"] ??= stored.Name;
            if (stored.Namespace != ResourcePath.ClusterScope)
                metadata["namespace"] ??= stored.Namespace;
            metadata["resourceVersion"] ??= stored.ResourceVersion.ToString(CultureInfo.InvariantCulture);
            return Typed(json, _kindOf[stored.Type]);
        }
        catch (JsonException)
        {
            return null; // the store takes only what is JSON: a row that somebody else wrote
        }
    }

    private static JsonObject Typed(JsonObject json, ResourceKind kind)
    {
        json["apiVersion"] ??= kind.ApiVersion;
        json["kind"] ??= kind.Kind;
        return json;
    }
}
