using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>Reads devices from the API; what is missing is told with what there is instead.</summary>
internal static class DeviceApi
{
    private const int NamesMax = 10;

    /// <summary>As the API lists them; a cluster that does not know the kind is told as such.</summary>
    public static async Task<IReadOnlyList<JsonObject>> ListAsync(IKubeClient kube, ResourceKind kind, string? @namespace, CancellationToken cancellationToken)
    {
        try
        {
            return (await kube.ListAsync(kind, @namespace, new ListOptions(), cancellationToken)).Items;
        }
        catch (KubeException e) when (e.Code == 404)
        {
            throw new KubeException(e.Code, e.Reason, $"this cluster has no {kind.Plural}.{kind.Group}: cloudcore makes that CRD when it starts; is this the cluster that it serves?", inner: e);
        }
    }

    /// <summary>Nodes, or null for who may not read them.</summary>
    public static async Task<IReadOnlyList<JsonObject>?> TryListNodesAsync(IKubeClient kube, CancellationToken cancellationToken)
    {
        try
        {
            return (await kube.ListAsync(ResourceKind.Node, null, new ListOptions(), cancellationToken)).Items;
        }
        catch (KubeException e) when (e.Code == 403)
        {
            return null;
        }
    }

    /// <summary>The Device; throws <see cref="KubeException"/> that names those there are.</summary>
    public static async Task<JsonObject> GetAsync(IKubeClient kube, DeviceName name, CancellationToken cancellationToken)
        => await kube.TryGetAsync(ResourceKind.Device, name.Namespace, name.Name, cancellationToken)
            ?? throw Missing(name, await ListAsync(kube, ResourceKind.Device, null, cancellationToken));

    /// <summary>The DeviceModel that a Device names, or null.</summary>
    public static Task<JsonObject?> TryGetModelAsync(IKubeClient kube, JsonObject device, CancellationToken cancellationToken)
        => device.Text("spec", "deviceModelRef", "name") is { Length: > 0 } model
            ? kube.TryGetAsync(ResourceKind.DeviceModel, device.Namespace(), model, cancellationToken) : Task.FromResult<JsonObject?>(null);

    /// <summary>Says that a device is not there, and which one may be meant.</summary>
    public static KubeException Missing(DeviceName name, IReadOnlyList<JsonObject> devices)
    {
        var known = devices.Select(one => new DeviceName(one.Namespace(), one.Name())).OrderBy(one => one.ToString(), StringComparer.Ordinal).ToList();
        var meant = known.FirstOrDefault(one => one.Name == name.Name)?.ToString() ?? DesiredCheck.Meant(name.ToString(), known.Select(one => one.ToString()));
        var text = known.Count == 0 ? "there are no devices at all; apply one, e.g. docs/examples/devices"
            : meant is not null ? $"did you mean '{meant}'?"
            : $"there are: {string.Join(", ", known.Take(NamesMax))}{(known.Count > NamesMax ? ", … ('edgectl get devices -A' has all)" : "")}";
        return new KubeException(404, "NotFound", $"there is no device '{name}'; {text}");
    }
}
