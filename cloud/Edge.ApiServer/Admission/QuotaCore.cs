using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Admission;

/// <summary>The quotas of one namespace and all that counts against them. Pure; not safe for concurrent use.</summary>
/// <remarks>An object counts from <see cref="TryReserve"/> on, before it is stored, so that writes at the same time never pass a limit together. <see cref="Put"/> replaces the
/// reservation by what was stored, <see cref="Release"/> takes it back.</remarks>
internal sealed class QuotaCore
{
    private readonly SortedDictionary<string, Quota> _quotas = new(StringComparer.Ordinal);
    private readonly Dictionary<string, QuotaCharge> _stored = [];
    private readonly Dictionary<string, QuotaCharge> _reserved = [];

    public IReadOnlyCollection<string> Names => _quotas.Keys;

    public bool IsEmpty => _quotas.Count == 0;

    /// <summary>The resources that any quota is about.</summary>
    public IReadOnlySet<string> Resources { get; private set; } = new HashSet<string>();

    /// <summary>Takes a new or changed quota; false when nothing that counts has changed.</summary>
    public bool SetQuota(JsonObject quota)
    {
        if (_quotas.TryGetValue(quota.Name(), out var known) && JsonNode.DeepEquals(known.Spec, quota["spec"]))
            return false;
        var made = new Quota(quota["spec"] as JsonObject ?? []);
        foreach (var uid in _stored.Keys.Union(_reserved.Keys))
            Count(made, uid, 1);
        _quotas[quota.Name()] = made;
        Resources = _quotas.Values.SelectMany(one => one.Hard.Keys).Select(QuotaUsage.ResourceOf).ToHashSet();
        return true;
    }

    public void RemoveQuota(string name)
    {
        _quotas.Remove(name);
        Resources = _quotas.Values.SelectMany(one => one.Hard.Keys).Select(QuotaUsage.ResourceOf).ToHashSet();
    }

    public bool IsStored(string uid) => _stored.ContainsKey(uid);

    /// <summary>The object is stored as this.</summary>
    public void Put(string uid, QuotaCharge charge) => Change(uid, () =>
    {
        _stored[uid] = charge;
        _reserved.Remove(uid);
    });

    public void Remove(string uid) => Change(uid, () =>
    {
        _stored.Remove(uid);
        _reserved.Remove(uid);
    });

    /// <summary>The write has failed.</summary>
    public void Release(string uid) => Change(uid, () => _reserved.Remove(uid));

    /// <summary>Counts an object that is about to be stored. Null, or why a quota does not allow it, in Kubernetes' words.</summary>
    /// <param name="newPod">A pod that is created: its containers must name what a quota of compute resources limits.</param>
    public string? TryReserve(string uid, QuotaCharge charge, JsonObject? newPod)
    {
        foreach (var (name, quota) in _quotas)
        {
            if (!quota.Matches(charge))
                continue;
            if (newPod is not null && QuotaUsage.Unspecified(newPod, quota.Hard.Keys) is { Length: > 0 } unspecified)
                return $"failed quota: {name}: must specify {unspecified}";
            var (before, after) = (Contribution(quota, _stored.GetValueOrDefault(uid), _reserved.GetValueOrDefault(uid)), Contribution(quota, _stored.GetValueOrDefault(uid), charge));
            var over = quota.Hard.Keys.Where(key => Of(after, key) > Of(before, key) && quota.Used[key] + Of(after, key) - Of(before, key) > quota.Hard[key]).Order(StringComparer.Ordinal).ToList();
            if (over.Count > 0)
                return $"exceeded quota: {name}, requested: {Show(over, key => Of(after, key) - Of(before, key))}, used: {Show(over, key => quota.Used[key])}, limited: {Show(over, key => quota.Hard[key])}";
        }

        Change(uid, () => _reserved[uid] = charge);
        return null;
    }

    /// <summary>What counts against a quota now, reservations included; empty for one that there is not.</summary>
    public IReadOnlyDictionary<string, decimal> Used(string name) => _quotas.TryGetValue(name, out var quota) ? quota.Used : new Dictionary<string, decimal>();

    /// <summary>The status of a quota.</summary>
    public JsonObject? Status(string name) => !_quotas.TryGetValue(name, out var quota) ? null : new JsonObject
    {
        ["hard"] = quota.Spec["hard"]?.DeepClone() ?? new JsonObject(),
        ["used"] = new JsonObject((quota.Spec["hard"] as JsonObject ?? []).Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)Format(pair.Key, quota.Used.GetValueOrDefault(pair.Key))))),
    };

    private void Change(string uid, Action change)
    {
        foreach (var quota in _quotas.Values)
            Count(quota, uid, -1);
        change();
        foreach (var quota in _quotas.Values)
            Count(quota, uid, 1);
    }

    private void Count(Quota quota, string uid, int sign)
    {
        foreach (var (key, value) in Contribution(quota, _stored.GetValueOrDefault(uid), _reserved.GetValueOrDefault(uid)))
        {
            if (quota.Used.TryGetValue(key, out var used))
                quota.Used[key] = used + sign * value;
        }
    }

    /// <summary>While a change is under way an object counts as the larger of what it is and what it becomes.</summary>
    private static IReadOnlyDictionary<string, decimal> Contribution(Quota quota, QuotaCharge? stored, QuotaCharge? reserved)
    {
        var (one, other) = (stored is not null && quota.Matches(stored) ? stored.Usage : null, reserved is not null && quota.Matches(reserved) ? reserved.Usage : null);
        if (one is null || other is null)
            return one ?? other ?? new Dictionary<string, decimal>();
        var both = new Dictionary<string, decimal>(one);
        foreach (var (key, value) in other)
            both[key] = Math.Max(value, both.GetValueOrDefault(key));
        return both;
    }

    private static decimal Of(IReadOnlyDictionary<string, decimal> usage, string key) => usage.GetValueOrDefault(key);

    private static string Show(List<string> keys, Func<string, decimal> value) => string.Join(",", keys.Select(key => $"{key}={Format(key, value(key))}"));

    private static string Format(string key, decimal value)
        => Validation.Quantity.Format(value, key.EndsWith("memory", StringComparison.Ordinal) || key.EndsWith("storage", StringComparison.Ordinal) || key.Contains("hugepages-", StringComparison.Ordinal));

    private sealed class Quota
    {
        private readonly List<(string Scope, string Operator, string[] Values)> _scopes;

        public Quota(JsonObject spec)
        {
            Spec = (JsonObject)spec.DeepClone();
            foreach (var (key, node) in spec["hard"] as JsonObject ?? [])
            {
                if (!Validation.Quantity.TryParse(node, out var value))
                    continue;
                Hard[key] = value;
                Used[key] = 0;
            }

            _scopes =
            [
                .. spec.Texts("scopes").Select(scope => (scope, "Exists", Array.Empty<string>())),
                .. spec.Items("scopeSelector", "matchExpressions").Select(one => (one.Text("scopeName"), one.Text("operator"), one.Texts("values").ToArray())),
            ];
        }

        public JsonObject Spec { get; }

        public Dictionary<string, decimal> Hard { get; } = [];

        public Dictionary<string, decimal> Used { get; } = [];

        /// <summary>Every scope must fit; scopes are about pods alone.</summary>
        public bool Matches(QuotaCharge charge) => _scopes.Count == 0 || (charge.Scopes is { } pod && _scopes.TrueForAll(scope => Fits(scope, pod)));

        private static bool Fits((string Scope, string Operator, string[] Values) scope, PodScopes pod) => scope.Scope switch
        {
            "Terminating" => pod.IsTerminating,
            "NotTerminating" => !pod.IsTerminating,
            "BestEffort" => pod.IsBestEffort,
            "NotBestEffort" => !pod.IsBestEffort,
            "CrossNamespacePodAffinity" => pod.HasCrossNamespaceAffinity,
            _ => scope.Operator switch
            {
                "In" => scope.Values.Contains(pod.PriorityClass),
                "NotIn" => !scope.Values.Contains(pod.PriorityClass),
                "Exists" => pod.PriorityClass.Length > 0,
                _ => pod.PriorityClass.Length == 0,
            },
        };
    }
}
