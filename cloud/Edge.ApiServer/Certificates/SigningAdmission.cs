using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Certificates;

/// <summary>What Kubernetes' admission does about signing requests: who asks is written down by the server, and who approves or signs needs the right for that signer.</summary>
internal sealed class SigningAdmission(Authorizer authorizer, TimeProvider time)
{
    private static readonly string[] s_identity = ["username", "uid", "groups", "extra"];

    /// <summary>The one who asks goes into the request, whatever it says; the kubelet's signer only signs for nodes.</summary>
    public static void OnCreate(ServedResource resource, JsonObject csr, UserIdentity? user)
    {
        if (resource.Kind != ResourceKind.CertificateSigningRequest || user is null || csr["spec"] is not JsonObject spec)
            return;
        foreach (var field in s_identity)
            spec.Remove(field);
        spec["username"] = user.Name;
        if (user.Uid.Length > 0)
            spec["uid"] = user.Uid;
        spec["groups"] = new JsonArray([.. user.Groups.Select(group => JsonValue.Create(group))]);
        if (user.Extra.Count > 0)
            spec["extra"] = new JsonObject(user.Extra.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)new JsonArray([.. pair.Value.Select(value => JsonValue.Create(value))]))));
        // CertificateSubjectRestriction
        if (spec.Text("signerName") == SigningPolicy.Client && SigningRules.Load(csr) is { } request && SigningPolicy.Fault(csr, request) is { } fault && fault.StartsWith(UserIdentity.Masters, StringComparison.Ordinal))
            throw ApiException.Forbidden(resource, csr.Name(), "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
    }

    /// <summary>Approving needs the verb <c>approve</c> on the signer, writing the status <c>sign</c>; the conditions of a decision are changed through the approval alone. Times are filled in.</summary>
    public void OnUpdate(ServedResource resource, JsonObject csr, JsonObject old, string subresource, UserIdentity? user)
    {
        if (resource.Kind != ResourceKind.CertificateSigningRequest || subresource.Length == 0)
            return;
        if (user is not null && !user.IsPrivileged)
            RequireSigner(resource, csr, user, subresource == "approval" ? "approve" : "sign");
        if (subresource == "status" && ((string[])["Approved", "Denied"]).Any(type => SigningRules.Has(csr, type) != SigningRules.Has(old, type)))
            throw ApiException.Invalid(resource, csr.Name(), [Errors.Forbidden("status.conditions", "updates may not add a condition of type \"Approved\" or \"Denied\"")]);
        if (subresource == "approval" && csr.Text("status", "certificate") != old.Text("status", "certificate"))
            throw ApiException.Invalid(resource, csr.Name(), [Errors.Forbidden("status.certificate", "updates may not set certificate content")]);
        var now = KubeObject.Time(time.GetUtcNow());
        foreach (var condition in csr.Items("status", "conditions"))
        {
            var before = old.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == condition.Text("type"));
            if (before is null)
                BuiltinObjects.Set(condition, "lastUpdateTime", now);
            if (condition["lastTransitionTime"] is null)
                condition["lastTransitionTime"] = before.Text("status") == condition.Text("status") && before.At("lastTransitionTime") is { } kept ? kept.DeepClone() : now;
        }
    }

    private void RequireSigner(ServedResource resource, JsonObject csr, UserIdentity user, string verb)
    {
        var signer = csr.Text("spec", "signerName");
        foreach (var name in (string[])[signer, $"{signer.Split('/')[0]}/*"])
        {
            if (authorizer.Decide(new AccessRequest(user, verb) { Group = resource.Kind.Group, Resource = "signers", Name = name }).IsAllowed)
                return;
        }

        throw ApiException.Forbidden(resource, csr.Name(), $"user not permitted to {verb} requests with signerName \"{signer}\"");
    }
}
