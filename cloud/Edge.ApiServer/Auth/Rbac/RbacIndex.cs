using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>Roles and bindings, compiled: who has which rules where. Written by one caller at a time (the store, change by change), read by all requests without a lock.</summary>
internal sealed class RbacIndex
{
    public const string Group = "rbac.authorization.k8s.io";

    // Only the writer changes these two.
    private readonly Dictionary<RoleKey, RoleCell> _roles = [];
    private readonly Dictionary<(string Namespace, string Name), ImmutableArray<SubjectKey>> _bindings = [];
    private volatile Grants _grants = new(ImmutableDictionary<SubjectKey, ImmutableArray<Grant>>.Empty);

    /// <summary>Takes a change of the four kinds; others are ignored.</summary>
    public void Apply(StoredEvent change)
    {
        if (change.Object.Resource.Group == Group)
            Put(change.Object, change.Type == WatchEventType.Deleted);
    }

    public void Load(IEnumerable<StoredObject> objects)
    {
        foreach (var obj in objects)
            Put(obj, isDeleted: false);
    }

    /// <summary>Allowed when any rule of the user allows it. Otherwise the reason tells which bindings name a role that there is not.</summary>
    public AccessDecision Decide(in AccessRequest request)
    {
        var all = _grants.All;
        List<string>? missing = null;
        if (Search(all, "", request, ref missing) is { } wide)
            return new AccessDecision(true, wide.Reason);
        if (request.Namespace.Length > 0 && Search(all, request.Namespace, request, ref missing) is { } narrow)
            return new AccessDecision(true, narrow.Reason);
        return new AccessDecision(false, missing is null ? "" : "RBAC: " + (missing.Count == 1 ? missing[0] : $"[{string.Join(", ", missing)}]"));
    }

    /// <summary>All rules that the user has in a namespace; with an empty one, in all of them.</summary>
    public IReadOnlyList<PolicyRule> RulesFor(UserIdentity user, string @namespace)
    {
        var (all, rules) = (_grants.All, new List<PolicyRule>());
        foreach (var where in @namespace.Length == 0 ? (string[])[""] : ["", @namespace])
        {
            foreach (var grant in Of(all, where, user))
                rules.AddRange(grant.Role.Rules ?? []);
        }

        return rules;
    }

    /// <summary>The rules of the role that a binding names; null when there is none.</summary>
    /// <param name="namespace">The binding's; empty for a ClusterRoleBinding.</param>
    public static IReadOnlyList<PolicyRule>? RulesOf(ObjectStore store, JsonObject roleRef, string @namespace)
    {
        var isCluster = roleRef.Text("kind") == "ClusterRole";
        var resource = isCluster ? BuiltinResources.ClusterRoles : BuiltinResources.Roles;
        return store.Get(resource.Id, isCluster ? "" : @namespace, roleRef.Text("name")) is { } role ? PolicyRule.OfRole(role.Parse()) : null;
    }

    private static Grant? Search(ImmutableDictionary<SubjectKey, ImmutableArray<Grant>> all, string @namespace, in AccessRequest request, ref List<string>? missing)
    {
        var user = request.User;
        for (var i = -1; i < user.Groups.Count; i++)
        {
            if (!all.TryGetValue(i < 0 ? new SubjectKey(@namespace, false, user.Name) : new SubjectKey(@namespace, true, user.Groups[i]), out var grants))
                continue;
            foreach (var grant in grants)
            {
                if (grant.Role.Rules is not { } rules)
                {
                    missing ??= [];
                    if (!missing.Contains(grant.Missing))
                        missing.Add(grant.Missing);
                    continue;
                }

                for (var j = 0; j < rules.Count; j++)
                {
                    if (rules[j].Allows(request))
                        return grant;
                }
            }
        }

        return null;
    }

    private static IEnumerable<Grant> Of(ImmutableDictionary<SubjectKey, ImmutableArray<Grant>> all, string @namespace, UserIdentity user)
        => user.Groups.Select(group => new SubjectKey(@namespace, true, group)).Prepend(new SubjectKey(@namespace, false, user.Name))
            .SelectMany(key => all.GetValueOrDefault(key, []));

    private void Put(StoredObject stored, bool isDeleted)
    {
        switch (stored.Resource.Plural)
        {
            case "roles" or "clusterroles":
                Cell(new RoleKey(stored.Namespace, stored.Name)).Rules = isDeleted ? null : PolicyRule.OfRole(stored.Parse());
                break;
            case "rolebindings" or "clusterrolebindings":
                Bind(stored, isDeleted);
                break;
        }
    }

    private void Bind(StoredObject stored, bool isDeleted)
    {
        var (all, at) = (_grants.All, (stored.Namespace, stored.Name));
        foreach (var key in _bindings.GetValueOrDefault(at, []))
        {
            var left = all[key].RemoveAll(grant => grant.Binding == stored.Name);
            all = left.IsEmpty ? all.Remove(key) : all.SetItem(key, left);
        }

        _bindings.Remove(at);
        if (!isDeleted)
        {
            var binding = stored.Parse();
            var (kind, name) = (binding.Text("roleRef", "kind"), binding.Text("roleRef", "name"));
            var role = Cell(new RoleKey(kind == "ClusterRole" ? "" : stored.Namespace, name));
            var missing = $"{kind.ToLowerInvariant()}.{Group} \"{name}\" not found";
            var keys = ImmutableArray.CreateBuilder<SubjectKey>();
            foreach (var subject in binding.Items("subjects"))
            {
                if (KeyOf(subject, stored.Namespace) is not { } key || keys.Contains(key))
                    continue;
                keys.Add(key);
                var where = stored.Namespace.Length == 0 ? $"ClusterRoleBinding \"{stored.Name}\"" : $"RoleBinding \"{stored.Name}/{stored.Namespace}\"";
                var who = subject.Text("kind") == "ServiceAccount" ? $"ServiceAccount \"{subject.Text("name")}/{subject.Text("namespace")}\"" : $"{subject.Text("kind")} \"{subject.Text("name")}\"";
                var grant = new Grant(stored.Name, role, $"RBAC: allowed by {where} of {kind} \"{name}\" to {who}", missing);
                all = all.SetItem(key, all.GetValueOrDefault(key, []).Add(grant));
            }

            _bindings[at] = keys.ToImmutable();
        }

        _grants = new Grants(all);
    }

    private static SubjectKey? KeyOf(JsonObject subject, string @namespace) => subject.Text("kind") switch
    {
        "User" => new SubjectKey(@namespace, false, subject.Text("name")),
        "Group" => new SubjectKey(@namespace, true, subject.Text("name")),
        "ServiceAccount" => new SubjectKey(@namespace, false, $"{UserIdentity.ServiceAccountPrefix}{subject.Text("namespace")}:{subject.Text("name")}"),
        _ => null,
    };

    /// <summary>Bindings hold on to the cell, so that a changed role is one assignment. A cell of a role that is gone stays, empty: bindings may name it.</summary>
    private RoleCell Cell(RoleKey key)
    {
        if (!_roles.TryGetValue(key, out var cell))
            _roles[key] = cell = new RoleCell();
        return cell;
    }

    private readonly record struct RoleKey(string Namespace, string Name);

    /// <summary>An empty namespace is a grant in all of them, and at the cluster's scope.</summary>
    private readonly record struct SubjectKey(string Namespace, bool IsGroup, string Name);

    private sealed class RoleCell
    {
        private volatile IReadOnlyList<PolicyRule>? _rules;

        /// <summary>Null where there is no such role.</summary>
        public IReadOnlyList<PolicyRule>? Rules
        {
            get => _rules;
            set => _rules = value;
        }
    }

    private sealed record Grant(string Binding, RoleCell Role, string Reason, string Missing);

    private sealed class Grants(ImmutableDictionary<SubjectKey, ImmutableArray<Grant>> all)
    {
        public ImmutableDictionary<SubjectKey, ImmutableArray<Grant>> All => all;
    }
}
