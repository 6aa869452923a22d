using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.NodeGroups;

/// <summary>Brings the objects of EdgeApplications to what <see cref="EdgeAppCore"/> says. One caller at a time.</summary>
/// <remarks>What an application has made stands in its annotation before it is made, so that nothing is left behind whenever this ends. An object of another owner is not taken over.</remarks>
internal sealed class EdgeAppKeeper(IKubeClient kube, EventRecorder events, ILogger logger)
{
    private const int ToldMax = 10_000;

    private readonly Dictionary<string, string> _told = new(StringComparer.Ordinal); // by uid of the application

    /// <summary>Called when a kind was written that was not before.</summary>
    public Action<ResourceKind>? Wrote { get; set; }

    /// <summary>Does what is to be done. False: something is not as wanted and is to be tried again.</summary>
    public async Task<bool> KeepAsync(JsonObject app, CancellationToken cancellationToken)
    {
        // Garbage collection deletes what it owns.
        if (app.IsDeleting())
            return true;
        var wanted = EdgeAppCore.Expand(app);
        var last = EdgeAppCore.LastContained(app);
        var kinds = await ResolveAsync(wanted, last, cancellationToken);
        for (var i = 0; i < wanted.Count; i++)
        {
            if (wanted[i].Problem is null && kinds[wanted[i].Resource] is var kind && kind is not { Namespaced: true })
                wanted[i] = wanted[i] with { Problem = kind is null ? "is of a kind that this cluster does not have" : "is of a kind without namespaces; apply it by itself" };
        }

        var current = wanted.Where(one => one.Problem is null).Select(one => one.Resource).ToList();
        // A manifest that is wrong at the moment still stands for what it made before.
        var redundant = wanted.Exists(one => one.Problem is not null) ? [] : last.Where(one => !current.Exists(one.IsSame)).ToList();
        await WriteContainedAsync(app, [.. current, .. last.Where(one => !current.Exists(one.IsSame))], cancellationToken);
        var states = new Dictionary<AppResource, JsonObject>();
        for (var i = 0; i < wanted.Count; i++)
        {
            if (wanted[i].Problem is not null)
                continue;
            try
            {
                states[wanted[i].Resource] = await ApplyAsync(app, kinds[wanted[i].Resource]!, wanted[i], cancellationToken);
            }
            catch (KubeException e)
            {
                wanted[i] = wanted[i] with { Problem = e.Message };
            }
        }

        foreach (var gone in redundant)
            await RemoveAsync(app, kinds[gone], gone, cancellationToken);
        if (redundant.Count > 0)
            await WriteContainedAsync(app, current, cancellationToken);
        await WriteStatusAsync(app, EdgeAppCore.Status(wanted, states.GetValueOrDefault), cancellationToken);
        return Tell(app, wanted);
    }

    private async Task<Dictionary<AppResource, ResourceKind?>> ResolveAsync(List<AppObject> wanted, List<AppResource> last, CancellationToken cancellationToken)
    {
        List<AppResource> all = [.. wanted.Select(one => one.Resource), .. last];
        IReadOnlyList<JsonObject> definitions = all.TrueForAll(one => AppKinds.IsBuiltIn(one.ApiVersion, one.Kind))
            ? [] : (await kube.ListAsync(ResourceKind.CustomResourceDefinition, null, new ListOptions(), cancellationToken)).Items;
        return all.Distinct().ToDictionary(one => one, one => AppKinds.Find(one.ApiVersion, one.Kind, definitions));
    }

    private async Task<JsonObject> ApplyAsync(JsonObject app, ResourceKind kind, AppObject one, CancellationToken cancellationToken)
    {
        var (ns, name) = (app.Namespace(), one.Resource.Name);
        var template = one.Object.ToJsonString();
        var wanted = one.Object.DeepClone().AsObject();
        wanted.Child("metadata").Child("annotations")[AppKinds.LastApplied] = template;
        if (await kube.TryGetAsync(kind, ns, name, cancellationToken) is not { } present)
        {
            var made = await kube.CreateAsync(kind, ns, wanted, cancellationToken);
            NodeGroupLog.Applied(logger, ns, app.Name(), "created", kind.Kind, name);
            Wrote?.Invoke(kind);
            return made;
        }

        Wrote?.Invoke(kind);
        if (!IsOwnedBy(present, app.Uid()))
            throw new KubeException(409, "Conflict", "exists and is not this EdgeApplication's; delete it or give the manifest another name");
        var before = LastApplied(present);
        if (before is not null && JsonNode.DeepEquals(before, one.Object))
            return present;
        var patch = EdgeAppCore.ThreeWay(before, wanted, present);
        if (patch.Count == 0)
            return present;
        var changed = await kube.PatchAsync(kind, ns, name, PatchKind.Merge, JsonBytes.Of(patch), null, cancellationToken);
        NodeGroupLog.Applied(logger, ns, app.Name(), "changed", kind.Kind, name);
        return changed;
    }

    private async Task RemoveAsync(JsonObject app, ResourceKind? kind, AppResource gone, CancellationToken cancellationToken)
    {
        if (kind is null || await kube.TryGetAsync(kind, gone.Namespace, gone.Name, cancellationToken) is not { } present || !IsOwnedBy(present, app.Uid()))
            return;
        try
        {
            var options = new JsonObject { ["propagationPolicy"] = "Background", ["preconditions"] = new JsonObject { ["uid"] = present.Uid() } };
            await kube.DeleteAsync(kind, gone.Namespace, gone.Name, options, cancellationToken);
            NodeGroupLog.Applied(logger, app.Namespace(), app.Name(), "deleted", gone.Kind, gone.Name);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // Somebody else did.
        }
    }

    private async Task WriteContainedAsync(JsonObject app, List<AppResource> resources, CancellationToken cancellationToken)
    {
        var text = EdgeAppCore.Write(resources);
        if (app.Annotation(AppKinds.LastContained) == text)
            return;
        var patch = new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { [AppKinds.LastContained] = text } } };
        await kube.PatchAsync(AppKinds.EdgeApplication, app.Namespace(), app.Name(), PatchKind.Merge, JsonBytes.Of(patch), null, cancellationToken);
    }

    private async Task WriteStatusAsync(JsonObject app, JsonObject status, CancellationToken cancellationToken)
    {
        if (!JsonNode.DeepEquals(app["status"], status))
            await kube.PatchAsync(AppKinds.EdgeApplication, app.Namespace(), app.Name(), PatchKind.Merge, JsonBytes.Of(new JsonObject { ["status"] = status }), "status", cancellationToken);
    }

    // True when there is nothing wrong. What is wrong is told once, and again when it is something else.
    private bool Tell(JsonObject app, List<AppObject> wanted)
    {
        var problems = wanted.Where(one => one.Problem is not null).Select(one => $"manifests[{one.Resource.Ordinal}], {one.Resource.Kind} '{one.Resource.Name}': {one.Problem}").ToList();
        var text = string.Join("; ", problems);
        if (_told.GetValueOrDefault(app.Uid(), "") == text)
            return problems.Count == 0;
        // Of applications that are gone; whoever is still wrong is told so once more.
        if (_told.Count >= ToldMax)
            _told.Clear();
        _told[app.Uid()] = text;
        if (problems.Count == 0)
        {
            _told.Remove(app.Uid());
            return true;
        }

        NodeGroupLog.Problem(logger, app.Namespace(), app.Name(), text);
        events.Warn(app, "NotApplied", text);
        return false;
    }

    private static bool IsOwnedBy(JsonObject obj, string uid) => obj.Items("metadata", "ownerReferences").Any(owner => owner.Text("uid") == uid);

    private static JsonObject? LastApplied(JsonObject obj)
    {
        try
        {
            return obj.Annotation(AppKinds.LastApplied) is { } text ? JsonNode.Parse(text) as JsonObject : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
