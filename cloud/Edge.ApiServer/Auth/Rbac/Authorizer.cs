using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>Decides each request: the administrators and CloudCore may do everything, a node what <see cref="NodeRules"/> say, and all what their roles allow.</summary>
internal sealed class Authorizer(RbacIndex rbac, ObjectStore store)
{
    private static readonly ResourceId s_claims = ResourceId.Of(ResourceKind.PersistentVolumeClaim);

    public RbacIndex Rbac => rbac;

    public AccessDecision Decide(in AccessRequest request)
    {
        if (request.User.IsPrivileged)
            return new AccessDecision(true, "");
        if (request.IsResource && request.User.Node is { } node && NodeRules.Allows(node, request, PodsOf, Claim))
            return new AccessDecision(true, "");
        return rbac.Decide(request);
    }

    private IEnumerable<JsonObject> PodsOf(string node)
        => store.Snapshot(BuiltinResources.Pods.Id).Items.Where(pod => pod.Field("spec.nodeName") == node).Select(pod => pod.Parse());

    private JsonObject? Claim(string @namespace, string name) => store.Get(s_claims, @namespace, name)?.Parse();
}
