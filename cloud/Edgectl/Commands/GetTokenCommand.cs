using System.CommandLine;
using System.Text;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl gettoken</c>: prints the join token that cloudcore keeps in the Secret kubeedge/tokensecret.</summary>
internal static class GetTokenCommand
{
    public static Command Create()
    {
        var cluster = new KubeAccess();
        var command = new Command("gettoken", """
            Prints the token with which a new node joins. It is good for a day and holds for any node; keep it secret. For one node alone, or
            another time: 'edgectl token create'.

            Examples:
              edgectl gettoken
              edgectl join --cloudcore-ipport 10.0.0.1:10000 --token "$(edgectl gettoken)"
            """)
        {
            cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("gettoken", result, kube => PrintAsync(kube, cancellationToken)));
        return command;
    }

    private static async Task<int> PrintAsync(KubeClient kube, CancellationToken cancellationToken)
    {
        var secret = await kube.TryGetAsync(ResourceKind.Secret, "kubeedge", "tokensecret", cancellationToken);
        var data = secret.Text("data", "tokendata");
        if (data.Length == 0)
        {
            Console.Error.WriteLine("edgectl gettoken: there is no token in Secret kubeedge/tokensecret; cloudcore writes it when it starts: is it running beside this cluster?");
            return 1;
        }

        var token = new byte[data.Length];
        if (!Convert.TryFromBase64String(data, token, out var length))
        {
            Console.Error.WriteLine("edgectl gettoken: Secret kubeedge/tokensecret, key tokendata, is not base64; delete the Secret and restart cloudcore");
            return 1;
        }

        Console.Out.WriteLine(Encoding.UTF8.GetString(token, 0, length));
        return 0;
    }
}
