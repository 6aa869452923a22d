using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Certificates;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Admission;

/// <summary>What is asked of a write besides its being valid, in the order of Kubernetes' admission: who may grant and sign, what nodes may write, limits of the namespace, and last its quotas.</summary>
internal sealed class AdmissionChain(Authorizer authorizer, QuotaLedger quotas, TimeProvider time, ObjectStore store)
{
    private readonly EscalationCheck _escalation = new(authorizer);
    private readonly SigningAdmission _signing = new(authorizer, time);

    /// <summary>Changes a new object before it is validated.</summary>
    public void Default(ServedResource resource, JsonObject obj, UserIdentity? user)
    {
        SigningAdmission.OnCreate(resource, obj, user);
        if (resource.Kind == ResourceKind.Pod && Ranges(obj.Namespace()) is { Count: > 0 } ranges)
            LimitRangeCore.Default(obj, ranges);
    }

    /// <summary>Judges a new, valid object.</summary>
    /// <exception cref="ApiException">403.</exception>
    public void OnCreate(ServedResource resource, JsonObject obj, UserIdentity? user)
    {
        _escalation.Check(resource, obj, null, user, store);
        if (user?.Node is { } node && resource.Kind.Plural is "nodes" or "leases" && obj.Name() != node)
            throw ApiException.Forbidden(resource, obj.Name(), $"node \"{node}\" is not allowed to create {resource.Kind.Plural} of another");
        if (resource.Kind != ResourceKind.Pod && resource.Kind != ResourceKind.PersistentVolumeClaim)
            return;
        var ranges = Ranges(obj.Namespace());
        if (ranges.Count > 0)
            Refuse(resource, obj, resource.Kind == ResourceKind.Pod ? LimitRangeCore.CheckPod(obj, ranges) : LimitRangeCore.CheckClaim(obj, ranges));
    }

    /// <summary>Judges a change; fills in what the server sets.</summary>
    /// <exception cref="ApiException">403, 422.</exception>
    public void OnUpdate(ServedResource resource, JsonObject obj, JsonObject old, string subresource, UserIdentity? user)
    {
        if (subresource.Length == 0)
            _escalation.Check(resource, obj, old, user, store);
        _signing.OnUpdate(resource, obj, old, subresource, user);
        if (resource.Kind == ResourceKind.PersistentVolumeClaim && subresource.Length == 0 && Ranges(obj.Namespace()) is { Count: > 0 } ranges)
            Refuse(resource, obj, LimitRangeCore.CheckClaim(obj, ranges));
    }

    public QuotaLedger Quotas => quotas;

    private static void Refuse(ServedResource resource, JsonObject obj, List<string> faults)
    {
        if (faults.Count > 0)
            throw ApiException.Forbidden(resource, obj.Name(), faults.Count == 1 ? faults[0] : $"[{string.Join(", ", faults)}]");
    }

    private List<JsonObject> Ranges(string @namespace)
    {
        var found = new List<JsonObject>();
        foreach (var range in store.Snapshot(BuiltinResources.LimitRanges.Id).Items)
        {
            if (range.Namespace == @namespace)
                found.Add(range.Parse());
        }

        return found;
    }
}
