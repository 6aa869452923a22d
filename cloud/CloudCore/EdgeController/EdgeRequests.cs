using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.NodeTasks;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Common.Text;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.EdgeController;

/// <summary>The answer to a request.</summary>
/// <param name="Message">Null where none is due (events of a stock edge).</param>
/// <param name="IsSettled">True when the request took effect, or was refused for good; false when it failed and may work later.</param>
internal readonly record struct EdgeAnswer(Message? Message, bool IsSettled);

/// <summary>Serves what an edge asks of the cluster (kubeedge-wire §3.2), with the least rights: its own node and lease, its own pods, and
/// the ConfigMaps, Secrets, ServiceAccounts, claims and their volumes that its own pods use.</summary>
/// <remarks>Safe for concurrent calls. Every request is safe to repeat.</remarks>
internal sealed class EdgeRequests(IKubeClient kube, NodeSync sync, EndpointReports endpoints, TimeProvider time, string advertisedAddress, HubMetrics metrics, ILogger logger)
{
    private const string LeaseNamespace = "kube-node-lease";

    private static readonly string[] s_eventFields = ["count", "firstTimestamp", "lastTimestamp", "eventTime", "series", "reason", "message", "type", "action"];

    private readonly Answers _answers = new(time);

    /// <summary>Serves <paramref name="request"/>.</summary>
    /// <param name="isEdgeWire">An Edge peer gets an answer to everything, and "OK" where a stock edge gets the patched object, which nobody there reads.</param>
    /// <param name="version">Of the request in the edge's queue; 0 when it has none.</param>
    public async Task<EdgeAnswer> AnswerAsync(string node, Message request, bool isEdgeWire, long version, CancellationToken cancellationToken)
    {
        if (request.Resource == "k8s/ca.crt")
            return new EdgeAnswer(await ClusterAuthorityAsync(request, cancellationToken), true);
        if (request.Operation == NodeTaskWire.Report)
            return await TakeTaskReportAsync(node, request, isEdgeWire, cancellationToken);
        if (!ResourcePath.TryParse(request.Resource, out var path))
            return new EdgeAnswer(_answers.PlainError(request, Refusals.BadRequest($"resource '{request.Resource}' is not <namespace>/<type>/<name>")), true);
        // Which of the two error shapes the caller reads follows from the request (§3.2, column "reply content").
        var isObjectAnswer = (path.Type, request.Operation) is
            (ResourceTypes.Node, Operations.Insert) or (ResourceTypes.NodePatch or ResourceTypes.PodPatch, Operations.Patch)
            or (ResourceTypes.Pod, Operations.Insert) or (ResourceTypes.Lease, _);
        try
        {
            var answer = await ServeAsync(node, request, path, version, cancellationToken);
            return new EdgeAnswer(isEdgeWire && (answer is null || request.Operation == Operations.Patch) ? Ok(request) : answer, true);
        }
        catch (KubeException e)
        {
            e = Failed(node, request, e, isUsual: e.Code == 404 || (e.Code == 409 && path.Type == ResourceTypes.Node));
            var isSettled = e.Code is >= 400 and < 500 and not (401 or 408 or 429);
            if (path.Type == ResourceTypes.Event && !isEdgeWire)
                return new EdgeAnswer(null, isSettled);
            return new EdgeAnswer(isObjectAnswer ? _answers.ObjectError(request, e) : _answers.PlainError(request, e), isSettled);
        }
    }

    /// <summary>Takes what nodes tell of their tasks; null when modules.taskManager is off.</summary>
    public NodeTaskService? Tasks { get; set; }

    /// <summary>May change what nodes report of themselves before it is stored; must be quick.</summary>
    public Action<string, JsonObject>? StatusReported { get; set; }

    /// <summary>The answer "OK".</summary>
    public Message Ok(Message request) => _answers.Ok(request);

    /// <summary>The answer to what has no taker here: the edge may forget it.</summary>
    public Message NotServed(Message request)
        => _answers.PlainError(request, Refusals.NotServed($"cloudcore has no taker for '{request.Operation}' of group '{request.Group}' ({request.Resource})"));

    private Task<Message?> ServeAsync(string node, Message request, ResourcePath path, long version, CancellationToken cancellationToken)
        => (path.Type, request.Operation) switch
        {
            (ResourceTypes.Node, Operations.Insert) => RegisterNodeAsync(node, request, path, cancellationToken),
            (ResourceTypes.Node, Operations.Update) => MergeNodeAsync(node, request, path, cancellationToken),
            (ResourceTypes.Node, Operations.Query) => QueryNodeAsync(node, request, path, cancellationToken),
            (ResourceTypes.NodePatch, Operations.Patch) => PatchNodeAsync(node, request, path, version, cancellationToken),
            (ResourceTypes.Pod, Operations.Insert) => CreateMirrorPodAsync(node, request, path, cancellationToken),
            (ResourceTypes.Pod, Operations.Delete) => DeletePodAsync(node, request, path, cancellationToken),
            (ResourceTypes.PodPatch, Operations.Patch) => PatchPodAsync(node, request, path, version, cancellationToken),
            (ResourceTypes.Lease, Operations.Query or Operations.Insert or Operations.Update) => LeaseAsync(node, request, path, cancellationToken),
            (ResourceTypes.Lease, Operations.Patch) => RenewLeaseAsync(node, request, path, cancellationToken),
            (ResourceTypes.ConfigMap, Operations.Query) => QueryConfigAsync(node, ResourceKind.ConfigMap, request, path, cancellationToken),
            (ResourceTypes.Secret, Operations.Query) => QueryConfigAsync(node, ResourceKind.Secret, request, path, cancellationToken),
            (ResourceTypes.ServiceAccountToken, Operations.Query) => RequestTokenAsync(node, request, path, cancellationToken),
            (ResourceTypes.PersistentVolumeClaim, Operations.Query) => QueryClaimAsync(node, request, path, cancellationToken),
            (ResourceTypes.PersistentVolume, Operations.Query) => QueryVolumeAsync(node, request, path, cancellationToken),
            (ResourceTypes.Event, Operations.Insert or Operations.Update or Operations.Patch) => WriteEventAsync(node, request, path, cancellationToken),
            (ResourceTypes.EndpointHealth, Operations.Update) => TakeEndpointAsync(node, request, path, cancellationToken),
            (ResourceTypes.RoundTrips, Operations.Update) => TakeRoundTripsAsync(node, request, path, cancellationToken),
            _ => throw Refusals.NotServed($"cloudcore does not serve '{request.Operation}' of '{path.Type}' ({request.Resource})"),
        };

    // Counts and logs the failure; returns the one to answer with.
    private KubeException Failed(string node, Message request, KubeException e, bool isUsual = false)
    {
        // With a Status it is the API's own word. Where that is about what cloudcore may do, the report is not to blame and comes again, as when the API is away.
        if (e is { Code: 403, Status: not null } && e.Message.Contains("is forbidden: User ", StringComparison.Ordinal))
            e = new KubeException(503, "ServiceUnavailable", $"the API does not let cloudcore: {e.Message}", inner: e);
        if (e is { Code: 403, Status: null })
        {
            metrics.Forbidden();
            HubLog.Forbidden(logger, node, request.Operation, request.Resource, e.Message);
        }
        else if (!isUsual)
            HubLog.UpstreamFailed(logger, node, request.Operation, request.Resource, e.Message);
        return e;
    }

    // A stock edge waits for no answer.
    private async Task<EdgeAnswer> TakeTaskReportAsync(string node, Message request, bool isEdgeWire, CancellationToken cancellationToken)
    {
        try
        {
            if (Tasks is null)
                throw Refusals.NotServed("modules.taskManager of this cloudcore is off; nobody takes the reports of node tasks");
            if (!NodeTaskPath.TryParse(request.Resource, out var path))
                throw Refusals.BadRequest($"resource '{request.Resource}' is not {NodeTaskWire.Prefix}<type>/<job>/node/<node>");
            await Tasks.TakeAsync(node, request, path, cancellationToken);
            return new EdgeAnswer(isEdgeWire ? _answers.Ok(request) : null, true);
        }
        catch (KubeException e)
        {
            e = Failed(node, request, e);
            return new EdgeAnswer(isEdgeWire ? _answers.PlainError(request, e) : null, e.Code is >= 400 and < 500 and not (401 or 408 or 409 or 429));
        }
    }

    private async Task<Message?> TakeEndpointAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        await endpoints.TakeAsync(node, request, path, cancellationToken);
        return _answers.Ok(request);
    }

    private async Task<Message?> TakeRoundTripsAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        await endpoints.TakeRoundTripsAsync(node, request, path, cancellationToken);
        return _answers.Ok(request);
    }

    private async Task<Message?> RegisterNodeAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        RequireOwnNode(node, path.Name);
        var content = Content(request);
        if (content.Name() != node)
            throw Refusals.Forbidden($"the certificate names node '{node}', the Node to register is '{content.Name()}'");
        await RequireOwnLabelsAsync(node, content, cancellationToken);
        Claim(Typed(content, ResourceKind.Node).Child("metadata").Child("annotations"));
        if (content["status"] is JsonObject status)
            StatusReported?.Invoke(node, status);
        content["metadata"]!.AsObject().Remove("resourceVersion");
        try
        {
            return _answers.Object(request, await kube.CreateAsync(ResourceKind.Node, null, content, cancellationToken));
        }
        catch (KubeException e) when (e.Code == 409)
        {
            // The node comes back with perhaps other labels; stock edges then go on with the error they know.
            await kube.PatchAsync(ResourceKind.Node, null, node, PatchKind.Merge, JsonBytes.Of(LabelsOf(content)), null, cancellationToken);
            return _answers.ObjectError(request, e);
        }
    }

    private async Task<Message?> MergeNodeAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        RequireOwnNode(node, path.Name);
        var content = Content(request);
        await RequireOwnLabelsAsync(node, content, cancellationToken);
        await kube.PatchAsync(ResourceKind.Node, null, node, PatchKind.Merge, JsonBytes.Of(LabelsOf(content)), null, cancellationToken);
        return _answers.Ok(request);
    }

    private async Task<Message?> QueryNodeAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        RequireOwnNode(node, path.Name);
        return _answers.Plain(request, await kube.GetAsync(ResourceKind.Node, null, node, cancellationToken));
    }

    private async Task<Message?> PatchNodeAsync(string node, Message request, ResourcePath path, long version, CancellationToken cancellationToken)
    {
        RequireOwnNode(node, path.Name);
        var patch = Patch(request);
        // A kubelet that finds its Node there already mends its labels and annotations with the status.
        RequireReport(patch, path, "labels", "annotations");
        if (patch["metadata"] is JsonObject metadata)
        {
            await RequireOwnLabelsAsync(node, patch, cancellationToken);
            var own = LabelsOf(patch)["metadata"]!;
            foreach (var key in (string[])["labels", "annotations"])
            {
                if (metadata.Remove(key) && own[key] is { } map)
                    metadata[key] = map.DeepClone();
            }
        }

        if (patch["status"] is JsonObject status)
            StatusReported?.Invoke(node, status);
        // Without a version nothing needs to be known of the Node.
        var known = version > 0 ? sync.Node(node) ?? await kube.GetAsync(ResourceKind.Node, null, node, cancellationToken) : Named(node);
        return _answers.Object(request, await ReportedStatus.PatchAsync(kube, ResourceKind.Node, known, patch, version, cancellationToken));
    }

    private async Task<Message?> CreateMirrorPodAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        var pod = Typed(Content(request), ResourceKind.Pod);
        if (pod.Text("spec", "nodeName") != node || !IsMirror(pod))
            throw Refusals.Forbidden($"node '{node}' may only create mirror pods of its own");
        // The rules of Kubernetes' NodeRestriction, which does not see that it is a node who asks. What the pod refers to, the node could read thereafter; and a controller would take a pod
        // that is its own, or nobody's, for one of its replicas.
        if (PodReferences.Of(pod).Count > 0 || pod.Text("spec", "serviceAccountName").Length > 0 || pod.Text("spec", "serviceAccount").Length > 0
            || pod.Items("spec", "volumes").Any(volume => volume["persistentVolumeClaim"] is not null || volume["ephemeral"] is not null))
            throw Refusals.Forbidden("a mirror pod may not refer to ConfigMaps, Secrets, a ServiceAccount or claims");
        if (pod.Items("metadata", "ownerReferences").ToList() is not [var owner] || (owner.Text("apiVersion"), owner.Text("kind"), owner.Text("name")) != ("v1", "Node", node) || !owner.Flag(false, "controller"))
            throw Refusals.Forbidden($"a mirror pod must have its Node '{node}' as its one owner, with controller: true");
        return _answers.Object(request, await kube.CreateAsync(ResourceKind.Pod, path.Namespace, pod, cancellationToken));
    }

    private async Task<Message?> DeletePodAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        var bytes = MessageCodec.Unwrap(request.Content);
        var options = JsonBytes.TryObject(bytes, out _);
        var uid = options is not null ? options.Text("preconditions", "uid") : System.Text.Encoding.UTF8.GetString(bytes.Span);
        if (uid.Length == 0)
            throw Refusals.BadRequest("the delete of a pod must carry its uid (preconditions.uid)");
        var pod = await PodAsync(path, cancellationToken);
        // Deleted already, or replaced by another of the same name: what the edge wants is true.
        if (pod is null || pod.Uid() != uid)
            return _answers.Ok(request);
        RequireOwnPod(node, pod);
        options ??= [];
        options["apiVersion"] = "v1";
        options["kind"] = "DeleteOptions";
        options.Child("preconditions")["uid"] = uid;
        options["gracePeriodSeconds"] ??= 0;
        try
        {
            await kube.DeleteAsync(ResourceKind.Pod, path.Namespace, path.Name, options, cancellationToken);
        }
        catch (KubeException e) when (e.Code is 404 or 409)
        {
            // Gone between the look and the delete.
        }

        return _answers.Ok(request);
    }

    private async Task<Message?> PatchPodAsync(string node, Message request, ResourcePath path, long version, CancellationToken cancellationToken)
    {
        var patch = Patch(request);
        RequireReport(patch, path);
        var uid = patch.Text("metadata", "uid");
        var pod = await PodAsync(path, cancellationToken) ?? throw Refusals.NotFound(ResourceKind.Pod, path.Name);
        if (uid.Length > 0 && uid != pod.Uid())
        {
            // The watch may lag behind: only the API decides that the pod is another one.
            pod = await kube.GetAsync(ResourceKind.Pod, path.Namespace, path.Name, cancellationToken);
            if (uid != pod.Uid())
                throw Refusals.Conflict($"Operation cannot be fulfilled on pods \"{path.Name}\": the UID in the patch is {uid}, the pod's is {pod.Uid()}");
        }

        RequireOwnPod(node, pod);
        return _answers.Object(request, await ReportedStatus.PatchAsync(kube, ResourceKind.Pod, pod, patch, version, cancellationToken));
    }

    private async Task<Message?> LeaseAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        RequireOwnLease(node, path);
        if (request.Operation == Operations.Query)
            return _answers.Object(request, await kube.GetAsync(ResourceKind.Lease, LeaseNamespace, node, cancellationToken));
        var lease = Typed(Content(request), ResourceKind.Lease);
        if (lease.Name() != node)
            throw Refusals.Forbidden($"the lease in the content is '{lease.Name()}', must be '{node}'");
        lease.Child("metadata")["namespace"] = LeaseNamespace;
        if (request.Operation == Operations.Update)
            return _answers.Object(request, await kube.UpdateAsync(ResourceKind.Lease, LeaseNamespace, lease, null, cancellationToken));
        lease.Child("metadata").Remove("resourceVersion");
        try
        {
            return _answers.Object(request, await kube.CreateAsync(ResourceKind.Lease, LeaseNamespace, lease, cancellationToken));
        }
        catch (KubeException e) when (e.Code == 404)
        {
            await CertificateStore.EnsureNamespaceAsync(kube, LeaseNamespace, cancellationToken);
            return _answers.Object(request, await kube.CreateAsync(ResourceKind.Lease, LeaseNamespace, lease, cancellationToken));
        }
    }

    // An Edge peer renews by the one field that changes.
    private async Task<Message?> RenewLeaseAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        RequireOwnLease(node, path);
        // Nobody reads the lease that comes back.
        await kube.PatchForBytesAsync(ResourceKind.Lease, LeaseNamespace, node, PatchKind.Merge, LeasePatch(request), null, cancellationToken);
        return _answers.Ok(request);
    }

    // As few objects as it can: with many nodes most of what comes up are leases.
    private static byte[] LeasePatch(Message request)
    {
        using var asked = JsonBytes.TryDocument(MessageCodec.Unwrap(request.Content), out var error) ?? throw Malformed(request, error);
        if (!asked.RootElement.TryGetProperty("spec", out var spec) || spec.ValueKind != JsonValueKind.Object || !spec.TryGetProperty("renewTime", out var renewed)
            || renewed.ValueKind != JsonValueKind.String || renewed.ValueEquals(""u8))
            throw Refusals.BadRequest("the patch of a lease must carry spec.renewTime");
        return JsonBuffer.Bytes(renewed, static (json, renewed) =>
        {
            json.WriteStartObject();
            json.WriteStartObject("spec"u8);
            json.WritePropertyName("renewTime"u8);
            renewed.WriteTo(json);
            json.WriteEndObject();
            json.WriteEndObject();
        });
    }

    private static void RequireOwnLease(string node, ResourcePath path)
    {
        if (path.Namespace != LeaseNamespace || path.Name != node)
            throw Refusals.Forbidden($"node '{node}' may only use its own lease {LeaseNamespace}/{node}");
    }

    private async Task<Message?> QueryConfigAsync(string node, ResourceKind kind, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        await RequireUsedAsync(node, kind, path, cancellationToken);
        var found = await kube.GetAsync(kind, path.Namespace, path.Name, cancellationToken);
        // While the API answered, the node may have lost its last user of it; an answer now would bring back what is being taken away.
        await RequireUsedAsync(node, kind, path, cancellationToken);
        return _answers.Plain(request, found);
    }

    private async Task RequireUsedAsync(string node, ResourceKind kind, ResourcePath path, CancellationToken cancellationToken)
    {
        if (!sync.Uses(node, new ConfigKey(path.Type, path.Namespace, path.Name)) && !(kind == ResourceKind.Secret && Tasks?.NeedsSecret(node, path.Namespace, path.Name) == true)
            && !await UsesLiveAsync(node, path, cancellationToken))
            throw Refusals.Forbidden($"{kind.Plural} \"{path.Name}\" is forbidden: no pod of node '{node}' uses it");
    }

    // A pod may be so new that the watch has not shown it; then the API knows.
    private async Task<bool> UsesLiveAsync(string node, ResourcePath path, CancellationToken cancellationToken)
    {
        var pods = await kube.ListAsync(ResourceKind.Pod, path.Namespace, new ListOptions(FieldSelector: $"spec.nodeName={node}"), cancellationToken);
        return pods.Items.Any(pod => pod.Text("spec", "nodeName") == node && PodReferences.Of(pod).Contains(new ConfigKey(path.Type, path.Namespace, path.Name)));
    }

    private async Task<Message?> RequestTokenAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        var ask = Content(request);
        var pod = ask.Text("spec", "boundObjectRef", "kind") == "Pod"
            ? await PodAsync(path with { Name = ask.Text("spec", "boundObjectRef", "name") }, cancellationToken) : null;
        // The node itself has made its mirror pods, in any namespace it liked.
        if (pod is null || pod.Uid() != ask.Text("spec", "boundObjectRef", "uid") || pod.Text("spec", "nodeName") != node || IsMirror(pod))
            throw Refusals.Forbidden($"a token of ServiceAccount '{path.Name}' must be bound to a pod of node '{node}' that is no mirror pod");
        var account = pod.Text("spec", "serviceAccountName") is { Length: > 0 } named ? named : "default";
        if (account != path.Name)
            throw Refusals.Forbidden($"pod '{pod.Name()}' runs as ServiceAccount '{account}', not '{path.Name}'");
        ask["apiVersion"] = "authentication.k8s.io/v1";
        ask["kind"] = "TokenRequest";
        return _answers.Plain(request, await kube.CreateSubresourceAsync(ResourceKind.ServiceAccount, path.Namespace, path.Name, "token", ask, cancellationToken));
    }

    private async Task<Message?> QueryClaimAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        if (!await UsesClaimAsync(node, path.Namespace, path.Name, cancellationToken))
            throw Refusals.Forbidden($"persistentvolumeclaims \"{path.Name}\" is forbidden: no pod of node '{node}' uses it");
        return _answers.Plain(request, await kube.GetAsync(ResourceKind.PersistentVolumeClaim, path.Namespace, path.Name, cancellationToken));
    }

    // A volume is a node's to read when a claim that its pods use is bound to it, as both say.
    private async Task<Message?> QueryVolumeAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        var volume = await kube.GetAsync(ResourceKind.PersistentVolume, null, path.Name, cancellationToken);
        var (ns, name) = (volume.Text("spec", "claimRef", "namespace"), volume.Text("spec", "claimRef", "name"));
        var claim = ns.Length == 0 || name.Length == 0 || !await UsesClaimAsync(node, ns, name, cancellationToken)
            ? null : await kube.TryGetAsync(ResourceKind.PersistentVolumeClaim, ns, name, cancellationToken);
        if (claim is null || claim.Text("spec", "volumeName") != path.Name)
            throw Refusals.Forbidden($"persistentvolumes \"{path.Name}\" is forbidden: no claim of a pod of node '{node}' is bound to it");
        return _answers.Plain(request, volume);
    }

    // Asked of the API: claims are asked for seldom, and the pod may be newer than the watch. A generic ephemeral volume's claim is named after pod and volume.
    private async Task<bool> UsesClaimAsync(string node, string @namespace, string claim, CancellationToken cancellationToken)
    {
        var pods = await kube.ListAsync(ResourceKind.Pod, @namespace, new ListOptions(FieldSelector: $"spec.nodeName={node}"), cancellationToken);
        return pods.Items.Any(pod => pod.Text("spec", "nodeName") == node && pod.Items("spec", "volumes").Any(volume =>
            volume.Text("persistentVolumeClaim", "claimName") == claim || (volume["ephemeral"] is not null && $"{pod.Name()}-{volume.Text("name")}" == claim)));
    }

    private async Task<Message?> WriteEventAsync(string node, Message request, ResourcePath path, CancellationToken cancellationToken)
    {
        var content = Content(request);
        var patch = request.Operation == Operations.Patch ? EventPatch(content) : null;
        if (content.At("event") is JsonObject inner)
            content = inner;
        await RequireOwnSubjectAsync(node, content, cancellationToken);
        if (request.Operation != Operations.Insert)
            await RequireOwnSubjectAsync(node, await kube.GetAsync(ResourceKind.Event, path.Namespace, path.Name, cancellationToken), cancellationToken);
        if (request.Operation == Operations.Update && (content.Name() != path.Name || content.Namespace() != path.Namespace))
            throw Refusals.BadRequest($"the content is event '{content.Namespace()}/{content.Name()}', the resource says '{path.Namespace}/{path.Name}'");
        Typed(content, ResourceKind.Event);
        switch (request.Operation)
        {
            case Operations.Insert:
                content.Child("metadata").Remove("resourceVersion");
                try
                {
                    await kube.CreateAsync(ResourceKind.Event, path.Namespace, content, cancellationToken);
                }
                catch (KubeException e) when (e.Code == 409)
                {
                    // A repeat of one that was written.
                }

                break;
            case Operations.Update:
                content.Child("metadata").Remove("resourceVersion");
                await kube.UpdateAsync(ResourceKind.Event, path.Namespace, content, null, cancellationToken);
                break;
            default:
                await kube.PatchAsync(ResourceKind.Event, path.Namespace, path.Name, PatchKind.Strategic, JsonBytes.Of(patch!), null, cancellationToken);
                break;
        }

        return null;
    }

    private async Task<Message?> ClusterAuthorityAsync(Message request, CancellationToken cancellationToken)
    {
        try
        {
            var map = await kube.GetAsync(ResourceKind.ConfigMap, "default", "kube-root-ca.crt", cancellationToken);
            return _answers.Text(request, map.Text("data", "ca.crt")) with { Source = Sources.CloudHub };
        }
        catch (KubeException e)
        {
            return _answers.PlainError(request, e) with { Source = Sources.CloudHub };
        }
    }

    private async Task RequireOwnSubjectAsync(string node, JsonObject @event, CancellationToken cancellationToken)
    {
        var name = @event.Text("involvedObject", "name");
        var ns = @event.Text("involvedObject", "namespace");
        var isOwn = @event.Text("involvedObject", "kind") switch
        {
            "Node" => name == node,
            // What a node still had to say of a pod that went while it was away is nobody's fault.
            "Pod" => (await PodAsync(new ResourcePath(ns, ResourceTypes.Pod, name), cancellationToken) ?? throw Refusals.NotFound(ResourceKind.Pod, name)).Text("spec", "nodeName") == node,
            "Device" => sync.Device(ns, name)?.Node == node,
            _ => false,
        };
        if (!isOwn)
            throw Refusals.Forbidden($"node '{node}' may only write events about itself, its pods and its devices");
    }

    private async Task<JsonObject?> PodAsync(ResourcePath path, CancellationToken cancellationToken)
        => sync.Pod(path.Namespace, path.Name) ?? await kube.TryGetAsync(ResourceKind.Pod, path.Namespace, path.Name, cancellationToken);

    private static bool IsMirror(JsonObject pod) => pod.Annotation("kubernetes.io/config.mirror") is not null;

    private static void RequireOwnNode(string node, string name)
    {
        if (name != node)
            throw Refusals.Forbidden($"nodes \"{name}\" is forbidden: node '{node}' may only use its own Node object");
    }

    private static void RequireOwnPod(string node, JsonObject pod)
    {
        if (pod.Text("spec", "nodeName") != node)
            throw Refusals.Forbidden($"pods \"{pod.Name()}\" is forbidden: the pod is not bound to node '{node}'");
    }

    // The status endpoint of Kubernetes takes labels, annotations and finalizers, too; with them a pod would go into another Service. Kubelets send nothing that is refused here.
    private static void RequireReport(JsonObject patch, ResourcePath path, params ReadOnlySpan<string> metadataToo)
    {
        foreach (var (field, value) in patch)
        {
            if (field is not ("status" or "apiVersion" or "kind") && !(field == "metadata" && value is JsonObject))
                throw Refusals.Forbidden($"a {path.Type} may change the status of {path.Name}, not its '{field}'");
        }

        if (patch["metadata"] is not JsonObject metadata)
            return;
        foreach (var (field, _) in metadata)
        {
            if (field is not ("uid" or "name" or "namespace") && !metadataToo.Contains(field))
                throw Refusals.Forbidden($"a {path.Type} may change the status of {path.Name}, not its 'metadata.{field}'");
        }
    }

    // Labels under node-restriction.kubernetes.io keep pods from nodes that are trusted less; Kubernetes' NodeRestriction, which sees cloudcore here and not the node, has nodes set any but these.
    private async Task RequireOwnLabelsAsync(string node, JsonObject content, CancellationToken cancellationToken)
    {
        if (content.At("metadata", "labels") is not JsonObject labels || !labels.Any(label => IsReserved(label.Key)))
            return;
        var known = await kube.TryGetAsync(ResourceKind.Node, null, node, cancellationToken);
        foreach (var (key, value) in labels)
        {
            // A node may say again what it has read.
            if (IsReserved(key) && !JsonNode.DeepEquals(value, known.At("metadata", "labels", key)))
                throw Refusals.Forbidden($"node '{node}' may not set its label '{key}'; those under node-restriction.kubernetes.io are set in the cluster (kubectl label node)");
        }
    }

    private static bool IsReserved(string label)
    {
        var prefix = label.AsSpan(0, Math.Max(0, label.IndexOf('/', StringComparison.Ordinal)));
        return prefix is "node-restriction.kubernetes.io" || prefix.EndsWith(".node-restriction.kubernetes.io", StringComparison.Ordinal);
    }

    // Of a Node that is made. With all annotations at once the sync controller has nothing left to write.
    private void Claim(JsonObject annotations)
    {
        CloudCoreIdentity.RemoveFrom(annotations);
        (sync.Identity ?? new CloudCoreIdentity(advertisedAddress, "")).AddTo(annotations);
    }

    // Not the claim: written late, without a look at the Node, it would take the node from the cloudcore that it has connected to since. The sync controller writes it onto the version it
    // has seen. What the edge says of it is what it once read; so it is with reserved labels.
    private static JsonObject LabelsOf(JsonObject node)
    {
        var metadata = new JsonObject();
        foreach (var key in (ReadOnlySpan<string>)["labels", "annotations"])
        {
            if (node.At("metadata", key) is not JsonObject map)
                continue;
            // Without a strategic patch's directives, as "$patch", which would take away what others have set.
            metadata[key] = new JsonObject(map.Where(pair => !IsReserved(pair.Key) && !pair.Key.StartsWith('$')).Select(pair => KeyValuePair.Create(pair.Key, pair.Value?.DeepClone())));
        }

        CloudCoreIdentity.RemoveFrom(metadata.Child("annotations"));
        return new JsonObject { ["metadata"] = metadata };
    }

    // The patch of an event travels as a JSON string, as base64 of Go's []byte, or as an object. It may say that it happened again, which is all that client-go's recorder patches; what it names
    // besides, as involvedObject, would make it an event of something that nobody has looked at.
    private static JsonObject EventPatch(JsonObject content)
    {
        if (content.At("patchData") is not JsonObject patch)
        {
            var text = content.Text("patchData");
            var bytes = new byte[text.Length];
            var utf8 = Convert.TryFromBase64String(text, bytes, out var length) ? bytes.AsMemory(0, length) : System.Text.Encoding.UTF8.GetBytes(text);
            patch = JsonBytes.TryObject(utf8, out var error) ?? throw Refusals.BadRequest($"the patch {error}");
        }

        foreach (var (field, _) in patch)
        {
            if (Array.IndexOf(s_eventFields, field) < 0)
                throw Refusals.Forbidden($"the patch of an event may change its {string.Join(", ", s_eventFields)}, not '{field}'");
        }

        return patch;
    }

    private static JsonObject Content(Message request)
        => JsonBytes.TryObject(MessageCodec.Unwrap(request.Content), out var error) ?? throw Malformed(request, error);

    private static KubeException Malformed(Message request, string error) => Refusals.BadRequest($"the content of {request.Operation} {request.Resource} {error}");

    private static JsonObject Patch(Message request)
        => JsonBytes.TryObject(MessageCodec.Unwrap(request.Content), out var error) ?? throw Refusals.BadRequest($"the patch {error}");

    private static JsonObject Named(string name) => new() { ["metadata"] = new JsonObject { ["name"] = name } };

    // Go peers send objects without kind and apiVersion.
    private static JsonObject Typed(JsonObject obj, ResourceKind kind)
    {
        obj["apiVersion"] = kind.ApiVersion;
        obj["kind"] = kind.Kind;
        return obj;
    }
}
