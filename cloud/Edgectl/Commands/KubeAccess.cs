using System.CommandLine;
using System.Security.Cryptography;
using Edge.Cloud;
using Edge.Common.Configuration;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary>How a command reaches the cluster that cloudcore serves, and how it fails.</summary>
internal sealed class KubeAccess
{
    private const string DefaultKubeconfig = "/var/lib/edge/cloudcore/admin.kubeconfig";

    public Option<string?> Kubeconfig { get; } = new("--kubeconfig", "--kube-config")
    {
        Description = $"The kubeconfig of the cluster that cloudcore serves. Without it the files of $KUBECONFIG, then {DefaultKubeconfig}.",
        HelpName = "FILE",
    };

    public Option<string?> Context { get; } = new("--context")
    {
        Description = "The context of the kubeconfig, instead of its current one.",
        HelpName = "NAME",
    };

    /// <summary>Runs a command's work against the cluster; what goes wrong is said on standard error, each with the command's name, and gives 1.</summary>
    public async Task<int> RunAsync(string command, ParseResult options, Func<KubeClient, Task<int>> work)
    {
        try
        {
            using var kube = new KubeClient(Load(options), TimeProvider.System);
            return await work(kube);
        }
        catch (ConfigException e)
        {
            foreach (var problem in e.Problems)
                Console.Error.WriteLine($"edgectl {command}: {problem}");
        }
        catch (Exception e) when (e is KubeException or CloudCoreException or CryptographicException)
        {
            Console.Error.WriteLine($"edgectl {command}: {e.Message.ReplaceLineEndings(" ")}");
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"edgectl {command}: stopped before it was done");
        }

        return 1;
    }

    private KubeClientOptions Load(ParseResult options)
    {
        var context = options.GetValue(Context) is { Length: > 0 } name ? name : null;
        if (options.GetValue(Kubeconfig) is { Length: > 0 } given)
            return Edge.Kubernetes.Kubeconfig.Load(given, context);
        return Environment.GetEnvironmentVariable("KUBECONFIG") is { Length: > 0 } variable ? Edge.Kubernetes.Kubeconfig.LoadList(variable, context)
            : Edge.Kubernetes.Kubeconfig.Load(DefaultKubeconfig, context);
    }
}
