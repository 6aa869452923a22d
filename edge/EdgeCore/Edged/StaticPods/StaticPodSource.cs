using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.Edged.StaticPods;

/// <summary>Static pods for the pod manager: what changed in the folder, and their mirrors at the API. Used by the pod manager's loop alone.</summary>
internal sealed class StaticPodSource(PodContext context) : IDisposable
{
    /// <summary>After this a mirror that the cloud did not take is asked for again.</summary>
    private static readonly TimeSpan s_askAgain = TimeSpan.FromMinutes(1);

    private readonly StaticPodFolder _folder = new(
        context.Options.StaticPodPath, context.NodeName, TimeSpan.FromSeconds(context.Options.FileCheckFrequencySeconds), context.Meta, context.Time, context.Log);

    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    private readonly Dictionary<string, MirrorView> _seen = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (MirrorAct Act, DateTimeOffset At)> _asked = new(StringComparer.Ordinal);
    private IReadOnlyDictionary<string, JsonObject> _wanted = new Dictionary<string, JsonObject>();

    /// <summary>The uids of the static pods.</summary>
    public IEnumerable<string> Uids => _wanted.Values.Select(pod => pod.Uid());

    /// <summary>Whether a pod of the name is a static one.</summary>
    public bool Owns(string key) => _wanted.ContainsKey(key);

    /// <summary>Reads the folder when it is time to.</summary>
    /// <returns>What changed, those that go first.</returns>
    public async Task<IReadOnlyList<MetaChange>> ReadAsync(CancellationToken cancellationToken)
    {
        if (!_folder.IsDue)
            return [];
        var found = await _folder.ReadAsync(cancellationToken);
        var changes = new List<MetaChange>();
        changes.AddRange(_wanted.Where(pair => !found.ContainsKey(pair.Key)).Select(pair => new MetaChange(Of(pair.Value), true)));
        var wanted = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        foreach (var (key, pod) in found)
        {
            var had = _wanted.GetValueOrDefault(key);
            if (had is null && IsTaken(pod))
            {
                if (_taken.Add(key))
                    EdgedLog.StaticPodBad(context.Log, key, "a pod of the API has the name", "it waits until that one is gone");
                continue;
            }

            _taken.Remove(key);
            wanted[key] = pod;
            if (had?.Uid() != pod.Uid())
                changes.Add(new MetaChange(Of(pod), false));
        }

        _wanted = wanted;
        return changes;
    }

    /// <summary>Takes what the cloud says of a pod.</summary>
    /// <returns>True when it is a mirror, and so not one to run.</returns>
    public bool Observe(MetaChange change, out bool isNew)
    {
        isNew = false;
        var obj = change.Object;
        var key = $"{obj.Namespace}/{obj.Name}";
        var json = Parse(obj);
        var isMirror = json is not null && StaticPodFile.IsMirror(json);
        if (!isMirror && !_wanted.ContainsKey(key) && !_seen.ContainsKey(key))
            return false;
        _asked.Remove(key);
        if (change.Deleted)
        {
            if (_seen.GetValueOrDefault(key)?.Uid == obj.Uid)
                _seen.Remove(key);
        }
        else
        {
            isNew = isMirror && _seen.GetValueOrDefault(key)?.Uid != obj.Uid;
            _seen[key] = new MirrorView(obj.Uid, json?.Annotation(StaticPodFile.MirrorAnnotation), json?.IsDeleting() == true);
        }

        return isMirror;
    }

    /// <summary>Asks the cloud for what the mirrors lack, through the durable queue.</summary>
    /// <param name="isHere">Whether anything of the pod of that <c>namespace/name</c> is on this node.</param>
    public async Task ReconcileAsync(Func<string, bool> isHere, CancellationToken cancellationToken)
    {
        if (_wanted.Count == 0 && _seen.Count == 0)
            return;
        var now = context.Time.GetUtcNow();
        foreach (var key in _wanted.Keys.Union(_seen.Keys).ToList())
        {
            var pod = _wanted.GetValueOrDefault(key);
            var seen = _seen.GetValueOrDefault(key);
            var act = MirrorCore.Decide(pod?.Annotation(StaticPodFile.HashAnnotation), seen, isHere(key));
            if (act == MirrorAct.Nothing || _asked.TryGetValue(key, out var asked) && asked.Act == act && now - asked.At < s_askAgain)
                continue;
            var entry = act == MirrorAct.Create ? Create(key, pod!) : Delete(key, seen!);
            if (entry is null)
                continue;
            try
            {
                await context.Uplink.PostAsync(entry, cancellationToken);
                _asked[key] = (act, now);
            }
            catch (Exception e) when (e is StoreException or ChannelClosedException)
            {
                EdgedLog.NotKept(context.Log, "the mirror", key, e.Message);
                return;
            }
        }
    }

    public void Dispose() => _folder.Dispose();

    private bool IsTaken(JsonObject pod)
        => context.Meta.Get(ResourceTypes.Pod, pod.Namespace(), pod.Name()) is { } stored && Parse(stored) is { } other && !StaticPodFile.IsMirror(other);

    private static MetaObject Of(JsonObject pod)
        => new($"{pod.Namespace()}/{ResourceTypes.Pod}/{pod.Name()}", ResourceTypes.Pod, pod.Namespace(), pod.Name(), pod.Uid(), 0, Encoding.UTF8.GetBytes(pod.ToJsonString()));

    private static JsonObject? Parse(MetaObject obj)
    {
        try
        {
            return JsonNode.Parse(obj.Json.Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null; // the manager says so (event 4004)
        }
    }

    // Its owner is the Node, whose uid the cloud knows: until then the pod runs without a mirror.
    private UplinkEntry? Create(string key, JsonObject pod)
    {
        if (context.Meta.Get(ResourceTypes.Node, ResourcePath.ClusterScope, context.NodeName) is not { Uid.Length: > 0 } node)
            return null;
        var mirror = StaticPodFile.Mirror(pod, context.NodeName, node.Uid);
        return new UplinkEntry(
            "mirrorpod/" + key, UplinkPriority.PodStatus, UplinkRule.Newest, Sources.Edged, Groups.Meta, Operations.Insert,
            $"{pod.Namespace()}/{ResourceTypes.Pod}/{pod.Name()}", Encoding.UTF8.GetBytes(mirror.ToJsonString()));
    }

    private static UplinkEntry Delete(string key, MirrorView seen)
    {
        var content = new JsonObject { ["gracePeriodSeconds"] = 0, ["preconditions"] = new JsonObject { ["uid"] = seen.Uid } };
        return new UplinkEntry(
            $"poddelete/{key}/{seen.Uid}", UplinkPriority.PodStatus, UplinkRule.Every, Sources.Edged, Groups.Meta, Operations.Delete,
            $"{key.Split('/')[0]}/{ResourceTypes.Pod}/{key.Split('/')[1]}", Encoding.UTF8.GetBytes(content.ToJsonString()));
    }
}
