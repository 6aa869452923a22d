using System.Reflection;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Host;

/// <summary>Puts the CustomResourceDefinitions that CloudCore works with into the cluster, from the manifests built into the executable.</summary>
internal static class CrdInstaller
{
    /// <summary>Creates what is missing and updates what differs; a newer field that somebody else set stays.</summary>
    public static async Task ApplyAsync(IKubeClient kube, TimeProvider time, CancellationToken cancellationToken, ILogger? logger = null)
    {
        foreach (var crd in ReadAll())
        {
            while (!await TryApplyAsync(kube, crd, logger ?? NullLogger.Instance, cancellationToken))
                await Task.Delay(TimeSpan.FromMilliseconds(100), time, cancellationToken);
        }

        foreach (var crd in ReadAll())
            await WaitUntilServedAsync(kube, crd, time, cancellationToken);
    }

    private static IEnumerable<JsonObject> ReadAll()
    {
        var assembly = Assembly.GetExecutingAssembly();
        foreach (var name in assembly.GetManifestResourceNames().Where(name => name.StartsWith("crds/", StringComparison.Ordinal)).Order(StringComparer.Ordinal))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            foreach (var obj in Manifests.Parse(reader.ReadToEnd()))
                yield return obj;
        }
    }

    // False on a conflict with somebody who writes at the same moment.
    private static async Task<bool> TryApplyAsync(IKubeClient kube, JsonObject crd, ILogger logger, CancellationToken cancellationToken)
    {
        JsonObject? stored = null;
        try
        {
            stored = await kube.TryGetAsync(ResourceKind.CustomResourceDefinition, null, crd.Name(), cancellationToken);
            if (stored is null)
            {
                await kube.CreateAsync(ResourceKind.CustomResourceDefinition, null, crd.DeepClone().AsObject(), cancellationToken);
                return true;
            }

            var changed = stored.DeepClone().AsObject();
            MergeInto(changed.Child("spec"), crd["spec"]!.AsObject());
            if (!JsonNode.DeepEquals(changed, stored))
                await kube.UpdateAsync(ResourceKind.CustomResourceDefinition, null, changed, null, cancellationToken);
            return true;
        }
        catch (KubeException e) when (e.Code == 403 && stored is not null)
        {
            // With least rights cloudcore writes no definitions: 'edgectl init' or helm did, perhaps of another version.
            HostLog.DefinitionKept(logger, crd.Name(), e.Message);
            return true;
        }
        catch (KubeException e) when (e.Code == 409)
        {
            return false;
        }
    }

    // The API adds defaults (conversion, names.listKind, names.singular); only what the manifest says is laid over.
    private static void MergeInto(JsonObject target, JsonObject source)
    {
        foreach (var (key, value) in source)
        {
            if (value is JsonObject inner && target[key] is JsonObject own && key != "versions")
                MergeInto(own, inner);
            else
                target[key] = value?.DeepClone();
        }
    }

    private static async Task WaitUntilServedAsync(IKubeClient kube, JsonObject crd, TimeProvider time, CancellationToken cancellationToken)
    {
        var version = crd.Items("spec", "versions").First(one => one.Flag(false, "served")).Text("name");
        var kind = new ResourceKind(
            crd.Text("spec", "group"), version, crd.Text("spec", "names", "plural"), crd.Text("spec", "names", "kind"), crd.Text("spec", "scope") == "Namespaced");
        while (true)
        {
            try
            {
                await kube.ListAsync(kind, null, new ListOptions(), cancellationToken);
                return;
            }
            catch (KubeException e) when (e.Code == 404)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), time, cancellationToken);
            }
        }
    }
}

/// <summary>What happens before CloudCore starts; ids 1850-1899.</summary>
internal static partial class HostLog
{
    [LoggerMessage(1850, LogLevel.Information, "the definition {Name} is left as it is: {Error}")]
    public static partial void DefinitionKept(ILogger logger, string name, string error);
}
