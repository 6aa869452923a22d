using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>Nobody grants what he does not have: a role that is written may hold only rules that its writer has, or the writer may <c>escalate</c> it; a binding that is written
/// may name only a role whose rules its writer has, or that the writer may <c>bind</c>.</summary>
internal sealed class EscalationCheck(Authorizer authorizer)
{
    private static readonly PolicyRule[] s_everything = [new(["*"], ["*"], ["*"], [], []), new(["*"], [], [], [], ["*"])];

    /// <param name="user">Null is the server itself.</param>
    /// <param name="old">Null for a new object.</param>
    /// <exception cref="ApiException">403 in Kubernetes' words, with the rules that are missing.</exception>
    public void Check(ServedResource resource, JsonObject obj, JsonObject? old, UserIdentity? user, Storage.ObjectStore store)
    {
        if (resource.Kind.Group != RbacIndex.Group || user is null || user.IsPrivileged)
            return;
        if (resource.Kind.Kind is "Role" or "ClusterRole")
            CheckRole(resource, obj, old, user);
        else
            CheckBinding(resource, obj, old, user, store);
    }

    private void CheckRole(ServedResource resource, JsonObject role, JsonObject? old, UserIdentity user)
    {
        var (sameRules, sameGathering) = (old is not null && JsonNode.DeepEquals(role["rules"], old["rules"]), old is not null && JsonNode.DeepEquals(role["aggregationRule"], old["aggregationRule"]));
        if (sameRules && sameGathering)
            return;
        if (authorizer.Decide(Of(user, "escalate", resource.Kind.Plural, role.Namespace(), role.Name())).IsAllowed)
            return;
        if (!sameRules)
            Require(resource, role, user, PolicyRule.OfRole(role));
        if (role["aggregationRule"] is not null && !sameGathering)
            Require(resource, role, user, s_everything); // what it gathers later cannot be known now
    }

    private void CheckBinding(ServedResource resource, JsonObject binding, JsonObject? old, UserIdentity user, Storage.ObjectStore store)
    {
        if (old is not null && JsonNode.DeepEquals(binding["subjects"], old["subjects"]) && JsonNode.DeepEquals(binding["roleRef"], old["roleRef"]))
            return;
        var role = binding["roleRef"] as JsonObject ?? [];
        var plural = role.Text("kind") == "ClusterRole" ? "clusterroles" : "roles";
        if (authorizer.Decide(Of(user, "bind", plural, binding.Namespace(), role.Text("name"))).IsAllowed)
            return;
        var rules = RbacIndex.RulesOf(store, role, binding.Namespace())
            ?? throw new ApiException(404, "NotFound", $"{plural}.{RbacIndex.Group} \"{role.Text("name")}\" not found", new JsonObject { ["name"] = role.Text("name"), ["group"] = RbacIndex.Group, ["kind"] = plural });
        Require(resource, binding, user, rules);
    }

    private void Require(ServedResource resource, JsonObject obj, UserIdentity user, IReadOnlyList<PolicyRule> rules)
    {
        if (PolicyRule.Covers(authorizer.Rbac.RulesFor(user, obj.Namespace()), rules, out var missing))
            return;
        var groups = string.Join(" ", user.Groups.Select(group => $"\"{group}\""));
        throw ApiException.Forbidden(
            resource, obj.Name(),
            $"user \"{user.Name}\" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{string.Join("\n", Compact(missing))}");
    }

    /// <summary>Atoms that differ in the verb alone are told as one rule.</summary>
    private static IEnumerable<string> Compact(IReadOnlyList<PolicyRule> atoms)
        => atoms.GroupBy(atom => new PolicyRule([], atom.Groups, atom.Resources, atom.Names, atom.Paths).ToString())
            .Select(same => new PolicyRule([.. same.Select(atom => atom.Verbs[0]).Distinct()], same.First().Groups, same.First().Resources, same.First().Names, same.First().Paths).ToString());

    private static AccessRequest Of(UserIdentity user, string verb, string plural, string @namespace, string name)
        => new(user, verb) { Group = RbacIndex.Group, Resource = plural, Namespace = @namespace, Name = name };
}
