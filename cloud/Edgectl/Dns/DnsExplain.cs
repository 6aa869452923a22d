using System.Text.Json.Nodes;
using Edge.GlobalServices;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.Cloud.Gslb.Module;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;

namespace Edge.Ctl.Dns;

/// <summary>Makes a choice of cloudcore's DNS again, from what the cluster says, and prints why.</summary>
internal sealed class DnsExplain(IKubeClient kube)
{
    public async Task<int> RunAsync(string host, ClientSubnet client, bool isIPv6, CancellationToken cancellationToken)
    {
        var builder = new GslbBuilder();
        foreach (var kind in (ResourceKind[])[GslbKinds.Zone, GslbKinds.GlobalService, GslbKinds.LocationMap])
        {
            foreach (var obj in await ListAsync(kind, cancellationToken))
            {
                builder.Put(kind, obj);
                builder.SetHealth(HealthOf(obj));
                if (kind == GslbKinds.GlobalService)
                    builder.SetMeasured($"{obj.Namespace()}/{obj.Name()}", [.. obj.Items("status", "latencies").Select(Latency.Read)]);
            }
        }

        var pods = new List<JsonObject>();
        foreach (var (@namespace, selector) in builder.PodSelections)
            pods.AddRange((await kube.ListAsync(ResourceKind.Pod, @namespace, new ListOptions(selector, "spec.nodeName!="), cancellationToken)).Items);
        builder.SetCluster(new ClusterState(
            (await kube.ListAsync(ResourceKind.Node, null, new ListOptions(EndpointResolver.EdgeRoleLabel), cancellationToken)).Items,
            await ListAsync(ResourceKind.Service, cancellationToken), pods));
        foreach (var path in builder.DatabasePaths)
            await ReadAsync(builder, path, cancellationToken);

        var snapshot = builder.Build();
        var service = snapshot.ServiceOf(host);
        if (service < 0)
        {
            await Console.Error.WriteLineAsync($"edgectl dns explain: no GlobalService answers for '{host}'{Known(snapshot)}; see kubectl get globalservices -A, and the conditions there");
            return 1;
        }

        Console.Out.Write(snapshot.Selector.Explain(service, isIPv6, client).ToString());
        return 0;
    }

    private static string Known(GslbSnapshot snapshot) => snapshot.Hosts.Count == 0 ? "; there is none at all" : $"; there are {string.Join(", ", snapshot.Hosts.Keys.Order(StringComparer.Ordinal).Take(10))}";

    private static IEnumerable<KeyValuePair<string, HealthState>> HealthOf(JsonObject obj)
        => obj.Items("status", "endpoints").Where(one => Enum.TryParse<HealthStatus>(one.Text("state"), out _)).Select(one => KeyValuePair.Create(
            $"{obj.Namespace()}/{obj.Name()}/{one.Text("name")}", HealthState.Told(Enum.Parse<HealthStatus>(one.Text("state")), one.Text("reason"))));

    private static async Task ReadAsync(GslbBuilder builder, string path, CancellationToken cancellationToken)
    {
        try
        {
            builder.SetDatabase(path, MaxMindFile.Open(await File.ReadAllBytesAsync(path, cancellationToken)).Locations().Compile(), "");
        }
        catch (Exception e) when (e is MaxMindException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"edgectl dns explain: {path}, which a LocationMap names, cannot be read here ({e.Message}); the choice is made without it");
        }
    }

    private async Task<IReadOnlyList<JsonObject>> ListAsync(ResourceKind kind, CancellationToken cancellationToken) => (await kube.ListAsync(kind, null, new ListOptions(), cancellationToken)).Items;
}
