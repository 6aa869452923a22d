using System.CommandLine;
using System.Text;
using Edge.Common.Configuration;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl gettoken</c>: prints the join token that cloudcore keeps in the Secret kubeedge/tokensecret.</summary>
internal static class GetTokenCommand
{
    private const string DefaultKubeconfig = "/var/lib/edge/cloudcore/admin.kubeconfig";

    public static Command Create()
    {
        var kubeconfig = new Option<string?>("--kubeconfig", "--kube-config")
        {
            Description = $"The kubeconfig of the cluster that cloudcore serves. Without it $KUBECONFIG, then {DefaultKubeconfig}.",
            HelpName = "FILE",
        };
        var command = new Command("gettoken", """
            Prints the token with which a new node joins. It is good for a day and holds for any node; keep it secret.

            Examples:
              edgectl gettoken
              edgectl join --cloudcore-ipport 10.0.0.1:10000 --token "$(edgectl gettoken)"
            """)
        {
            kubeconfig,
        };
        command.SetAction((result, cancellationToken) => RunAsync(result.GetValue(kubeconfig), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(string? given, CancellationToken cancellationToken)
    {
        try
        {
            using var kube = KubeClient.FromKubeconfig(Choose(given), TimeProvider.System);
            var secret = await kube.TryGetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", cancellationToken);
            var data = secret.Text("data", "tokendata");
            if (data.Length == 0)
            {
                Console.Error.WriteLine("edgectl gettoken: there is no token in Secret kubeedge/tokensecret; cloudcore writes it when it starts: is it running beside this cluster?");
                return 1;
            }

            Console.Out.WriteLine(Encoding.UTF8.GetString(Convert.FromBase64String(data)));
            return 0;
        }
        catch (ConfigException e)
        {
            foreach (var problem in e.Problems)
                Console.Error.WriteLine($"edgectl gettoken: {problem}");
        }
        catch (KubeException e)
        {
            Console.Error.WriteLine($"edgectl gettoken: {e.Message.ReplaceLineEndings(" ")}");
        }
        catch (FormatException)
        {
            Console.Error.WriteLine("edgectl gettoken: Secret kubeedge/tokensecret, key tokendata, is not base64; delete the Secret and restart cloudcore");
        }

        return 1;
    }

    private static string Choose(string? given)
        => given is { Length: > 0 } ? given
            // kubectl allows a list of files here; the first one counts.
            : Environment.GetEnvironmentVariable("KUBECONFIG") is { Length: > 0 } variable ? variable.Split(Path.PathSeparator)[0]
            : DefaultKubeconfig;
}
