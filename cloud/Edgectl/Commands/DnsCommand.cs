using System.CommandLine;
using Edge.GlobalServices;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.Ctl.Dns;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl dns</c>: looks into the answers of cloudcore's DNS.</summary>
internal static class DnsCommand
{
    public static Command Create() => new("dns", """
        Looks into the answers of cloudcore's DNS (modules.gslb).

        Examples:
          edgectl dns explain shop.example.com --from 192.0.2.7
        """)
    {
        CreateExplain(),
    };

    private static Command CreateExplain()
    {
        var cluster = new KubeAccess();
        var name = new Argument<string>("NAME") { Description = "A host of a GlobalService." };
        var from = new Option<string>("--from") { Description = "The client: an address, or its network as a resolver tells it, e.g. 192.0.2.0/24.", HelpName = "IP", Required = true };
        var type = new Option<string>("--type", "-t") { Description = "A or AAAA.", DefaultValueFactory = _ => "A" };
        type.AcceptOnlyFromAmong("A", "AAAA");
        var command = new Command("explain", """
            Says which endpoints of a GlobalService a client's question considers, which fell out and why, each step of the policy, and the answer. It makes the choice with cloudcore's
            own code from the objects in the cluster and the health that cloudcore wrote on the GlobalService; where turns count (weighted, roundRobin), the answer is that of a first
            turn. An .mmdb file is read where it is on this machine, too.

            Examples:
              edgectl dns explain shop.example.com --from 192.0.2.7
              edgectl dns explain shop.example.com --from 2001:db8::/48 --type AAAA
            """)
        {
            name, from, type, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("dns explain", result, async kube =>
        {
            if (HostName.Problem(result.GetValue(name)!, allowWildcard: false) is { } problem)
            {
                await Console.Error.WriteLineAsync($"edgectl dns explain: {problem}");
                return 1;
            }

            if (!Network.TryParse(result.GetValue(from)!, out var network, out var error))
            {
                await Console.Error.WriteLineAsync($"edgectl dns explain: --from {error}");
                return 1;
            }

            var client = new ClientSubnet(network.Address, network.PrefixLength, network.IsIPv6, true);
            return await new DnsExplain(kube).RunAsync(HostName.Canonical(result.GetValue(name)!), client, result.GetValue(type) == "AAAA", cancellationToken);
        }));
        return command;
    }
}
