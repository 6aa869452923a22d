using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Cloud.NodeGroups;

/// <summary>Names an object that an EdgeApplication makes, as its annotation and status do.</summary>
/// <param name="Ordinal">The index of its manifest.</param>
internal sealed record AppResource(int Ordinal, string Group, string Version, string Kind, string Namespace, string Name)
{
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    public bool IsSame(AppResource other) => (Group, Kind, Namespace, Name) == (other.Group, other.Kind, other.Namespace, other.Name);

    public JsonObject ToJson() => new() { ["ordinal"] = Ordinal, ["group"] = Group, ["version"] = Version, ["kind"] = Kind, ["namespace"] = Namespace, ["name"] = Name };
}

/// <summary>One object that an EdgeApplication wants, or a manifest it cannot be made of.</summary>
/// <param name="Problem">What is wrong; null where <paramref name="Object"/> is to be applied.</param>
internal sealed record AppObject(AppResource Resource, JsonObject Object, string? Problem);

/// <summary>What an EdgeApplication wants to be in the cluster (kubeedge-wire §7). Pure.</summary>
internal static class EdgeAppCore
{
    /// <summary>Everything that is to be there, in the order of the manifests.</summary>
    public static List<AppObject> Expand(JsonObject app)
    {
        var targets = app.Items("spec", "workloadScope", "targetNodeGroups").Select(one => new AppTarget(one.Text("name"), null, one.At("overriders") as JsonObject))
            .Concat(app.Items("spec", "workloadScope", "targetNodeLabels").Select(one => new AppTarget("", one.At("labelSelector") as JsonObject, one.At("overriders") as JsonObject))).ToList();
        var wanted = new List<AppObject>();
        var ordinal = -1;
        foreach (var manifest in app.Items("spec", "workloadTemplate", "manifests"))
        {
            ordinal++;
            var template = manifest.DeepClone().AsObject();
            if (Check(app, template) is { } problem)
            {
                wanted.Add(new AppObject(ResourceOf(ordinal, template), template, problem));
                continue;
            }

            template.Child("metadata")["namespace"] = app.Namespace();
            template.Remove("status");
            if (template.ApiVersion() == AppKinds.Deployment.ApiVersion && template.Kind() == AppKinds.Deployment.Kind)
            {
                foreach (var target in targets)
                    wanted.Add(ForTarget(app, template, target, ordinal));
                continue;
            }

            if (template.ApiVersion() == ResourceKind.Service.ApiVersion && template.Kind() == ResourceKind.Service.Kind)
                template.Child("metadata").Child("annotations")[AppKinds.Topology] = AppKinds.RangeNodeGroup;
            Own(app, template);
            wanted.Add(new AppObject(ResourceOf(ordinal, template), template, null));
        }

        foreach (var (one, index) in wanted.Select((one, index) => (one, index)).ToList())
        {
            if (one.Problem is null && wanted.FindIndex(other => other.Problem is null && other.Resource.IsSame(one.Resource)) < index)
                wanted[index] = one with { Problem = $"{one.Resource.Kind} '{one.Resource.Name}' comes twice; give each manifest and target its own name" };
        }

        return wanted;
    }

    /// <summary>The status of the application.</summary>
    /// <param name="stateOf">The object as it stands in the cluster, null where it is not there.</param>
    public static JsonObject Status(IReadOnlyList<AppObject> wanted, Func<AppResource, JsonObject?> stateOf) => new()
    {
        ["workloadStatus"] = new JsonArray([.. wanted.OrderBy(one => one.Resource.Ordinal).ThenBy(one => one.Resource.Name, StringComparer.Ordinal).Select(one => (JsonNode)new JsonObject
        {
            ["identifier"] = one.Resource.ToJson(),
            ["conditions"] = one.Problem is null && stateOf(one.Resource) is { } state && IsAvailable(state) ? "Available" : "Processing",
        })]),
    };

    /// <summary>What the annotation of the application says it made; what cannot be read of it is nothing.</summary>
    public static List<AppResource> LastContained(JsonObject app)
    {
        try
        {
            return app.Annotation(AppKinds.LastContained) is not { Length: > 0 } text || JsonNode.Parse(text) is not JsonArray list ? [] : [.. list.OfType<JsonObject>().Select(one => new AppResource(
                (int)one.Number(0, "ordinal"), one.Text("group"), one.Text("version"), one.Text("kind"), one.Text("namespace"), one.Text("name")))];
        }
        catch (JsonException)
        {
            return [];
        }
    }

    public static string Write(IEnumerable<AppResource> resources) => new JsonArray([.. resources.Select(one => one.ToJson())]).ToJsonString();

    /// <summary>The merge patch (RFC 7386) that brings <paramref name="present"/> to what <paramref name="wanted"/> says; what <paramref name="before"/> said and it no longer says goes, what
    /// others set stays. Empty: nothing differs.</summary>
    public static JsonObject ThreeWay(JsonObject? before, JsonObject wanted, JsonObject present)
    {
        var patch = new JsonObject();
        foreach (var (key, value) in wanted)
        {
            if (value is JsonObject inner && present[key] is JsonObject own)
            {
                if (ThreeWay(before?[key] as JsonObject, inner, own) is { Count: > 0 } nested)
                    patch[key] = nested;
            }
            else if (!JsonNode.DeepEquals(value, present[key]))
            {
                patch[key] = value?.DeepClone();
            }
        }

        foreach (var (key, _) in before ?? [])
        {
            if (!wanted.ContainsKey(key) && present.ContainsKey(key))
                patch[key] = null;
        }

        return patch;
    }

    private static AppObject ForTarget(JsonObject app, JsonObject template, AppTarget target, int ordinal)
    {
        var deployment = template.DeepClone().AsObject();
        string? problem;
        if (target.Group.Length == 0 && target.Selector is null or { Count: 0 })
            problem = "a target has neither the name of a NodeGroup nor a labelSelector";
        else
            problem = Overriders.Apply(deployment, target);
        Own(app, deployment);
        return new AppObject(ResourceOf(ordinal, deployment), deployment, problem is null ? null : $"target '{target.Suffix[1..]}': {problem}");
    }

    private static string? Check(JsonObject app, JsonObject manifest)
    {
        if (manifest.ApiVersion().Length == 0 || manifest.Kind().Length == 0 || manifest.Name().Length == 0)
            return "has no apiVersion, kind or metadata.name";
        // An owner and what it owns share a namespace, or garbage collection takes the owner for gone (Kubernetes, owner references).
        if (manifest.Namespace() is { Length: > 0 } ns && ns != app.Namespace())
            return $"is of the namespace '{ns}'; leave metadata.namespace out or set it to the EdgeApplication's, '{app.Namespace()}'";
        return null;
    }

    private static void Own(JsonObject app, JsonObject obj) => obj.Child("metadata")["ownerReferences"] = new JsonArray(new JsonObject
    {
        ["apiVersion"] = AppKinds.EdgeApplication.ApiVersion,
        ["kind"] = AppKinds.EdgeApplication.Kind,
        ["name"] = app.Name(),
        ["uid"] = app.Uid(),
        ["controller"] = true,
        ["blockOwnerDeletion"] = true,
    });

    private static AppResource ResourceOf(int ordinal, JsonObject obj)
    {
        var version = obj.ApiVersion();
        var slash = version.IndexOf('/', StringComparison.Ordinal);
        return new AppResource(ordinal, slash < 0 ? "" : version[..slash], version[(slash + 1)..], obj.Kind(), obj.Namespace(), obj.Name());
    }

    // A Deployment is available once all its replicas are; of others it is enough that they are there.
    private static bool IsAvailable(JsonObject state)
        => state.Kind() != AppKinds.Deployment.Kind
            || (state.Number(0, "status", "availableReplicas") == state.Number(1, "spec", "replicas") && state.Number(0, "status", "observedGeneration") >= state.Number(0, "metadata", "generation"));
}
