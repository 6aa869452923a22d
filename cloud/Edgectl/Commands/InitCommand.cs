using System.CommandLine;
using System.Net;
using System.Text.Json.Nodes;
using Edge.Ctl.Cluster;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl init</c>: CloudCore into an existing cluster, from the chart that edgectl carries.</summary>
internal static class InitCommand
{
    public static Command Create()
    {
        var cluster = new KubeAccess();
        var address = new Option<string[]>("--advertise-address") { Description = "IP address that edges dial; it goes into the hub's certificate. May be repeated." };
        var name = new Option<string[]>("--dns-name") { Description = "DNS name that edges dial. May be repeated." };
        var profile = new Option<string>("--profile") { Description = $"Values to begin with: {string.Join(", ", Chart.Profiles.Keys)}.", DefaultValueFactory = _ => "ha" };
        var set = new Option<string[]>("--set") { Description = "A value of the chart, e.g. replicas=2 or config.modules.router.enable=true; may be repeated." };
        var dryRun = new Option<string>("--dry-run") { Description = "client prints the manifests and asks nobody; server has the API check everything and store nothing.", DefaultValueFactory = _ => "none" };
        dryRun.AcceptOnlyFromAmong("none", "client", "server");
        var force = new Option<bool>("--force-conflicts") { Description = "Takes over fields that somebody else manages, e.g. after helm or kubectl edit." };
        var wait = new Option<int>("--wait") { Description = "Seconds to wait until all replicas are available; 0 does not wait.", DefaultValueFactory = _ => 300 };
        var command = new Command("init", """
            Puts CloudCore into a cluster: CustomResourceDefinitions, namespace kubeedge, ServiceAccount, roles, configuration, Deployment, Service and
            PodDisruptionBudget, by server-side apply. Run again, it changes what differs. The same as a Helm chart: manifests/charts/edge.

            Examples:
              edgectl init --kubeconfig ~/.kube/config --advertise-address 192.0.2.1
              edgectl init --advertise-address 192.0.2.1 --dry-run client > edge.yaml
              edgectl init --dns-name hub.example.com --profile single --set image.repository=registry.example.com/cloudcore
            """)
        {
            cluster.Kubeconfig, cluster.Context, address, name, profile, set, dryRun, force, wait,
        };
        command.SetAction((parse, cancellationToken) => RunAsync(
            parse, cluster, parse.GetValue(address) ?? [], parse.GetValue(name) ?? [], parse.GetValue(profile)!, parse.GetValue(set) ?? [], parse.GetValue(dryRun)!,
            parse.GetValue(force), TimeSpan.FromSeconds(Math.Max(0, parse.GetValue(wait))), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(
        ParseResult parse, KubeAccess cluster, string[] addresses, string[] names, string profile, string[] sets, string dryRun, bool isForced, TimeSpan wait, CancellationToken cancellationToken)
    {
        IReadOnlyList<JsonObject> crds, objects;
        try
        {
            var values = Values(addresses, names, profile, sets);
            (crds, objects) = (Chart.Crds(), Chart.Render(values));
        }
        catch (Exception e) when (e is ChartException or ManifestException)
        {
            Console.Error.WriteLine($"edgectl init: {e.Message}");
            return 1;
        }

        if (dryRun == "client")
        {
            foreach (var obj in crds.Concat(objects))
                Console.Out.Write($"---\n{YamlWriter.Write(obj)}");
            return 0;
        }

        return await cluster.RunAsync("init", parse, async kube =>
        {
            var init = new ClusterInit(kube, TimeProvider.System, Console.Out.WriteLine);
            var isDry = dryRun == "server";
            var changed = await init.ApplyAsync(crds, isForced, isDry, cancellationToken);
            if (!isDry)
                await init.WaitForDefinitionsAsync(crds, cancellationToken);
            changed += await init.ApplyAsync(objects, isForced, isDry, cancellationToken);
            Console.Out.WriteLine($"{changed} of {crds.Count + objects.Count} objects {(isDry ? "would change" : "changed")}");
            if (isDry || wait == TimeSpan.Zero)
                return 0;
            if (!await init.WaitForDeploymentAsync(objects.First(one => one.Kind() == "Deployment"), wait, cancellationToken))
            {
                Console.Error.WriteLine($"edgectl init: cloudcore is not available after {wait.TotalSeconds:0} s; what was applied stays, and 'edgectl init' can be run again");
                return 1;
            }

            Console.Out.WriteLine("cloudcore serves; a node joins with:  edgectl join -e HOST:PORT --certport PORT --token \"$(edgectl gettoken)\" -i NAME");
            return 0;
        });
    }

    /// <exception cref="ChartException">Something given cannot be.</exception>
    internal static JsonObject Values(string[] addresses, string[] names, string profile, string[] sets)
    {
        foreach (var address in addresses.Where(one => !IPAddress.TryParse(one, out _)))
            throw new ChartException($"--advertise-address '{address}' is not an IP address; a name goes to --dns-name");
        var values = Chart.Values(profile, sets);
        var hub = values.Child("config").Child("modules").Child("cloudHub");
        if (addresses.Length > 0)
            hub["advertiseAddress"] = new JsonArray([.. addresses.Select(one => (JsonNode?)one)]);
        if (names.Length > 0)
            hub["dnsNames"] = new JsonArray([.. names.Select(one => (JsonNode?)one)]);
        if (hub["advertiseAddress"] is not JsonArray { Count: > 0 } && hub["dnsNames"] is not JsonArray { Count: > 0 })
            throw new ChartException("say what edges will dial: --advertise-address IP or --dns-name NAME; the hub's certificate must carry it");
        var secrets = values.At("rbac", "secretNamespaces") as JsonArray;
        var served = hub.Parent!.AsObject().Child("edgeController");
        if (secrets is { Count: > 0 } && served["secretNamespaces"] is null)
            served["secretNamespaces"] = secrets.DeepClone();
        else if (served.Count == 0)
            hub.Parent!.AsObject().Remove("edgeController");
        return values;
    }
}
