using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl token create|list|revoke</c>: join tokens with an id, each a Secret in namespace kubeedge.</summary>
internal static partial class TokenCommand
{
    private static readonly TimeSpan s_least = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan s_most = TimeSpan.FromDays(3650);

    public static Command Create() => new("token", """
        Join tokens that can be bound to one node, listed and revoked. (The token of 'edgectl gettoken' holds for any node and for a day.)

        Examples:
          edgectl token create --node press-3 --ttl 2h
          edgectl token list
          edgectl token revoke k3v9x0w2ab
        """)
    {
        CreateCreate(),
        CreateList(),
        CreateRevoke(),
    };

    /// <summary>Reads e.g. <c>90s</c>, <c>30m</c>, <c>24h</c>, <c>7d</c>, <c>1d12h</c>; null when it is none or not from a minute to ten years.</summary>
    internal static TimeSpan? ReadLifetime(string text)
    {
        if (!LifetimePattern().IsMatch(text))
            return null;
        var seconds = 0.0;
        foreach (Match part in PartPattern().Matches(text))
        {
            seconds += double.Parse(part.Groups[1].Value, CultureInfo.InvariantCulture) * part.Groups[2].Value switch
            {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => 86_400,
            };
        }

        return seconds >= s_least.TotalSeconds && seconds <= s_most.TotalSeconds ? TimeSpan.FromSeconds(seconds) : null;
    }

    private static Command CreateCreate()
    {
        var cluster = new KubeAccess();
        var output = Output.CreateOption();
        var node = new Option<string>("--node", "-i") { Description = "The only node that may join with it; any node without it.", DefaultValueFactory = _ => "", HelpName = "NAME" };
        var lifetime = new Option<string>("--ttl") { Description = "How long it is good, e.g. 30m, 24h, 7d; from a minute to ten years.", DefaultValueFactory = _ => "24h", HelpName = "TIME" };
        var description = new Option<string>("--description") { Description = "What it is for, for 'edgectl token list'.", DefaultValueFactory = _ => "", HelpName = "TEXT" };
        var command = new Command("create", """
            Makes a join token and prints it, alone, on standard output. It is not kept anywhere: who loses it makes a new one.

            Examples:
              edgectl join -e 192.0.2.1:10000 -i press-3 --token "$(edgectl token create --node press-3)"
              edgectl token create --ttl 7d --description "hall north" -o json
            """)
        {
            node, lifetime, description, output, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) =>
        {
            var name = result.GetValue(node)!;
            var said = result.GetValue(description)!;
            if (name.Length > 0 && !NodeName.IsValid(name))
                return Task.FromResult(Fail("create", $"--node '{name}' must be a node's name: at most 253 lower-case letters, digits, '-' and '.', each part starting and ending with a letter or digit"));
            if (ReadLifetime(result.GetValue(lifetime)!) is not { } span)
                return Task.FromResult(Fail("create", $"--ttl '{result.GetValue(lifetime)}' must be a time from 1m to 3650d, e.g. 30m, 24h or 7d"));
            if (said.Length > TokenStore.DescriptionMax || said.Any(char.IsControl))
                return Task.FromResult(Fail("create", $"--description must be one line of at most {TokenStore.DescriptionMax} characters"));
            return cluster.RunAsync("token create", result, async kube =>
            {
                using var authorities = await AuthoritiesAsync(kube, cancellationToken);
                var (token, record) = await new TokenStore(kube, TimeProvider.System).CreateAsync(authorities, name, span, said, cancellationToken);
                if (result.GetValue(output) == "json")
                {
                    Console.Out.Write(Output.Json(writer => Write(writer, record, token)));
                    return 0;
                }

                Console.Out.WriteLine(token);
                Console.Error.WriteLine($"token {record.Id} is for {(name.Length > 0 ? $"node {name}" : "any node")} and good until {KubeObject.Time(record.Expires)}; revoke it with 'edgectl token revoke {record.Id}'");
                return 0;
            });
        });
        return command;
    }

    private static Command CreateList()
    {
        var cluster = new KubeAccess();
        var output = Output.CreateOption();
        var command = new Command("list", """
            Lists the tokens that are still good; those that have expired are removed.

            Examples:
              edgectl token list
              edgectl token list -o json | jq -r '.items[] | select(.node == "press-3") | .id'
            """)
        {
            output, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("token list", result, async kube =>
        {
            var tokens = await new TokenStore(kube, TimeProvider.System).ListAsync(cancellationToken);
            var read = await new CertificateStore(kube, TimeProvider.System).TryReadAuthoritiesAsync(cancellationToken);
            using var authorities = read?.Authorities;
            var active = authorities is null ? "" : JoinToken.AuthorityId(authorities.Active.CertificateDer);
            if (result.GetValue(output) == "json")
            {
                Console.Out.Write(Output.Json(writer =>
                {
                    writer.WriteStartObject();
                    writer.WriteStartArray("items");
                    foreach (var token in tokens)
                        Write(writer, token, null);
                    writer.WriteEndArray();
                    writer.WriteEndObject();
                }));
                return 0;
            }

            var now = TimeProvider.System.GetUtcNow();
            Console.Out.Write(Output.Table(["ID", "NODE", "EXPIRES", "LEFT", "DESCRIPTION"], tokens.Select(token => (string[])
                [token.Id, token.Node.Length > 0 ? token.Node : "<any>", KubeObject.Time(token.Expires), token.Authority == active ? Output.Span(token.Expires - now) : "<former CA>", token.Description])));
            return 0;
        }));
        return command;
    }

    private static Command CreateRevoke()
    {
        var cluster = new KubeAccess();
        var ids = new Argument<string[]>("ID") { Description = "The tokens' ids, of 'edgectl token list'.", Arity = ArgumentArity.OneOrMore };
        var command = new Command("revoke", """
            Makes tokens useless from now on. Nodes that have joined with them stay.

            Examples:
              edgectl token revoke k3v9x0w2ab
            """)
        {
            ids, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("token revoke", result, async kube =>
        {
            var tokens = new TokenStore(kube, TimeProvider.System);
            var code = 0;
            foreach (var id in result.GetValue(ids)!)
            {
                if (await tokens.RevokeAsync(id, cancellationToken))
                    Console.Out.WriteLine($"token {id} revoked");
                else
                    code = Fail("revoke", $"there is no token '{id}'; 'edgectl token list' has those there are");
            }

            return code;
        }));
        return command;
    }

    internal static async Task<AuthoritySet> AuthoritiesAsync(IKubeClient kube, CancellationToken cancellationToken)
        => (await new CertificateStore(kube, TimeProvider.System).TryReadAuthoritiesAsync(cancellationToken))?.Authorities
            ?? throw new Cloud.CloudCoreException("there is no CA in Secret kubeedge/casecret; cloudcore makes it when it starts: is it running beside this cluster?");

    private static void Write(Utf8JsonWriter writer, TokenRecord record, string? token)
    {
        writer.WriteStartObject();
        writer.WriteString("id", record.Id);
        writer.WriteString("node", record.Node);
        writer.WriteString("expires", KubeObject.Time(record.Expires));
        writer.WriteString("description", record.Description);
        writer.WriteString("ca", record.Authority);
        if (token is not null)
            writer.WriteString("token", token);
        writer.WriteEndObject();
    }

    private static int Fail(string verb, string message)
    {
        Console.Error.WriteLine($"edgectl token {verb}: {message}");
        return 1;
    }

    [GeneratedRegex(@"\A([0-9]{1,6}[smhd])+\z")]
    private static partial Regex LifetimePattern();

    [GeneratedRegex("([0-9]+)([smhd])")]
    private static partial Regex PartPattern();
}
