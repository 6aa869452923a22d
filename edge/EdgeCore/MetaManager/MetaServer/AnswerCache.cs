using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Kubernetes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>An answer of the API from before.</summary>
/// <param name="At">When it was got, or last brought up to date by a watch.</param>
internal sealed record CachedAnswer(string ContentType, byte[] Body, DateTimeOffset At);

/// <summary>Answers of the API to reads, in memory and in the store, for when the cloud is away; watches keep lists up to date.</summary>
/// <remarks>Safe for concurrent calls. Bounded by bytes: what was used longest ago goes.</remarks>
internal sealed class AnswerCache
{
    private static readonly LocalRows s_rows = new("metaserver-cache");

    // Parameters that say how long or how much, not what; lists in pages are not kept.
    private static readonly string[] s_transient = ["timeoutSeconds", "timeout", "watch", "allowWatchBookmarks", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "limit", "pretty"];
    private readonly Lock _gate = new();
    private readonly Dictionary<string, LinkedListNode<(string Key, CachedAnswer Answer)>> _answers = [];
    private readonly LinkedList<(string Key, CachedAnswer Answer)> _order = [];
    private readonly IMetaStore _meta;
    private readonly long _bytesMax;
    private long _bytes;

    public AnswerCache(IMetaStore meta, long bytesMax)
    {
        _meta = meta;
        _bytesMax = bytesMax;
        foreach (var (key, row) in s_rows.Load(meta).OrderBy(row => row.Value.Number(0, "at")))
        {
            if (row.Text("body") is { Length: > 0 } body)
                Set(key, new CachedAnswer(row.Text("type"), Encoding.UTF8.GetBytes(body), DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(row.Number(0, "at"), 0, 1L << 46))));
        }
    }

    public (int Count, long Bytes) Size
    {
        get
        {
            lock (_gate)
                return (_answers.Count, _bytes);
        }
    }

    /// <summary>Under which the answer to a read is kept; null for what is not kept (pages).</summary>
    public static string? KeyOf(string target, string accept)
    {
        var at = target.IndexOf('?', StringComparison.Ordinal);
        if (at < 0)
            return $"{Shape(accept)}|{target}";
        var pairs = target[(at + 1)..].Split('&', StringSplitOptions.RemoveEmptyEntries);
        if (pairs.Any(pair => pair.StartsWith("continue=", StringComparison.Ordinal) && pair.Length > "continue=".Length))
            return null;
        var kept = pairs.Where(pair => !s_transient.Contains(pair.Split('=')[0], StringComparer.Ordinal) && !pair.EndsWith('=')).Order(StringComparer.Ordinal).ToList();
        return $"{Shape(accept)}|{target[..at]}{(kept.Count > 0 ? "?" + string.Join('&', kept) : "")}";
    }

    public CachedAnswer? Get(string key)
    {
        lock (_gate)
        {
            if (!_answers.TryGetValue(key, out var node))
                return null;
            _order.Remove(node);
            _order.AddLast(node);
            return node.Value.Answer;
        }
    }

    /// <summary>Keeps an answer. A body that is no JSON text is not kept.</summary>
    public async Task PutAsync(string key, CachedAnswer answer, CancellationToken cancellationToken)
    {
        if (answer.Body.Length > _bytesMax / 4 || !Protocol.Messages.JsonText.IsUnicode(answer.Body))
            return;
        List<string> gone;
        bool isNew;
        lock (_gate)
        {
            isNew = !_answers.TryGetValue(key, out var before) || !before.Value.Answer.Body.AsSpan().SequenceEqual(answer.Body);
            gone = Set(key, answer);
        }

        if (!isNew)
            return;
        try
        {
            foreach (var old in gone)
                await s_rows.DeleteAsync(_meta, old, cancellationToken);
            var row = new JsonObject { ["type"] = answer.ContentType, ["at"] = answer.At.ToUnixTimeMilliseconds(), ["body"] = Encoding.UTF8.GetString(answer.Body) };
            await s_rows.PutAsync(_meta, key, row, cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // In memory it serves until the next start.
        }
    }

    // The keys that had to go for it.
    private List<string> Set(string key, CachedAnswer answer)
    {
        if (_answers.Remove(key, out var before))
        {
            _order.Remove(before);
            _bytes -= before.Value.Answer.Body.Length;
        }

        _answers[key] = _order.AddLast((key, answer));
        _bytes += answer.Body.Length;
        var gone = new List<string>();
        while (_bytes > _bytesMax && _order.First is { } oldest && _answers.Count > 1)
        {
            _order.RemoveFirst();
            _answers.Remove(oldest.Value.Key);
            _bytes -= oldest.Value.Answer.Body.Length;
            gone.Add(oldest.Value.Key);
        }

        return gone;
    }

    private static string Shape(string accept)
        => accept.Contains("as=Table", StringComparison.Ordinal) ? "table"
            : accept.Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal) ? accept.Contains("v=v2;", StringComparison.Ordinal) || accept.Contains("v=v2,", StringComparison.Ordinal) ? "discovery2" : "discovery"
            : accept.Contains("as=PartialObjectMetadata", StringComparison.Ordinal) ? "metadata" : "json";
}

/// <summary>A list as a watch keeps it up to date. One caller.</summary>
internal sealed class FollowedList
{
    private readonly SortedDictionary<string, JsonObject> _items = new(StringComparer.Ordinal);
    private string _kind;
    private string _apiVersion;

    private FollowedList(string kind, string apiVersion, string version) => (_kind, _apiVersion, Version) = (kind, apiVersion, version);

    public string Version { get; private set; }

    /// <summary>Nothing yet: for a watch that begins with all there is.</summary>
    public static FollowedList Empty() => new("List", "v1", "0");

    /// <summary>Null for what is no whole list.</summary>
    public static FollowedList? Read(ReadOnlyMemory<byte> body)
    {
        if (JsonReading.Object(body) is not { } list || list["items"] is not JsonArray items || list.Text("metadata", "continue").Length > 0)
            return null;
        var followed = new FollowedList(list.Kind(), list.ApiVersion(), list.ResourceVersion());
        foreach (var item in items.OfType<JsonObject>().Select(item => (JsonObject)item.DeepClone()))
        {
            // Typed lists leave it out.
            if (!item.ContainsKey("kind") && list.Kind().EndsWith("List", StringComparison.Ordinal))
                (item["kind"], item["apiVersion"]) = (list.Kind()[..^4], list.ApiVersion());
            followed._items[$"{item.Namespace()}/{item.Name()}"] = item;
        }

        return followed;
    }

    /// <summary>Takes one event of the watch; false when it changes nothing of the list.</summary>
    public bool Apply(string type, JsonObject obj)
    {
        if (type is not ("ADDED" or "MODIFIED" or "DELETED" or "BOOKMARK"))
            return false;
        if (obj.ResourceVersion() is { Length: > 0 } version)
            Version = version;
        if (_kind is "List" or "" && obj.Kind().Length > 0)
            (_kind, _apiVersion) = ($"{obj.Kind()}List", obj.ApiVersion());
        if (type == "DELETED")
            _items.Remove($"{obj.Namespace()}/{obj.Name()}");
        else if (type != "BOOKMARK")
            _items[$"{obj.Namespace()}/{obj.Name()}"] = (JsonObject)obj.DeepClone();
        return true;
    }

    public JsonObject? Find(string @namespace, string name) => _items.GetValueOrDefault($"{@namespace}/{name}");

    public IEnumerable<JsonObject> Items => _items.Values;

    public byte[] Write() => JsonReading.Bytes(new JsonObject
    {
        ["kind"] = _kind,
        ["apiVersion"] = _apiVersion,
        ["metadata"] = new JsonObject { ["resourceVersion"] = Version },
        ["items"] = new JsonArray([.. _items.Values.Select(item => item.DeepClone())]),
    });

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{_kind} of {_items.Count} at {Version}");
}
