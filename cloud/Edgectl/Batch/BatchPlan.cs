using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Batch;

/// <summary>The file of a batch cannot be used; the message names node and key.</summary>
internal sealed class BatchException(string message) : Exception(message);

/// <summary>One node of a batch.</summary>
/// <param name="Command">What edgectl is to do there, as a shell reads it. May hold a token.</param>
/// <param name="Host">Address that ssh dials.</param>
/// <param name="KeyFile">The private key; empty for what ssh chooses.</param>
internal sealed record BatchNode(string Name, string Command, string Host, string User, int Port, string KeyFile)
{
    /// <summary>Arguments of ssh; the command itself goes to the remote shell's input, so that no token stands in a list of processes here.</summary>
    public IReadOnlyList<string> SshArguments(int connectSeconds)
    {
        var arguments = new List<string> { "-o", "BatchMode=yes", "-o", $"ConnectTimeout={connectSeconds}", "-p", Port.ToString(System.Globalization.CultureInfo.InvariantCulture) };
        if (KeyFile.Length > 0)
            arguments.AddRange(["-i", KeyFile, "-o", "IdentitiesOnly=yes"]);
        arguments.AddRange(["-l", User, "--", Host, "sh", "-s"]);
        return arguments;
    }
}

/// <summary>What <c>edgectl batch</c> reads: KubeEdge's file of keadm batch (kubeedge-wire §5.12) as far as it says what to run where.</summary>
internal sealed record BatchPlan(IReadOnlyList<BatchNode> Nodes, int AtOnce)
{
    private const int NodesMax = 10_000;

    /// <exception cref="BatchException">Something in it cannot be; nothing has been done then.</exception>
    public static BatchPlan Parse(string text)
    {
        JsonNode? root;
        try
        {
            root = Manifests.ParseValue(text);
        }
        catch (ManifestException e)
        {
            throw new BatchException(e.Message);
        }

        if (root is not JsonObject file)
            throw new BatchException("must be a mapping with nodes");
        foreach (var (key, _) in file)
        {
            if (key is not ("keadm" or "nodes" or "maxRunNum"))
                throw new BatchException($"{key} is not a known key; there is keadm, nodes and maxRunNum");
        }

        var templates = file.Map("keadm", "cmdTplArgs").ToDictionary(pair => pair.Key, pair => pair.Value);
        var nodes = file.Items("nodes").Select((node, i) => Node(node, i, templates)).ToList();
        if (nodes.Count is 0 or > NodesMax)
            throw new BatchException(nodes.Count == 0 ? "nodes is empty" : $"nodes has {nodes.Count} entries, at most {NodesMax} are possible");
        if (nodes.GroupBy(node => node.Name).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new BatchException($"node '{twice.Key}' is named twice");
        var atOnce = file.Number(5, "maxRunNum");
        return atOnce is >= 1 and <= 256 ? new BatchPlan(nodes, (int)atOnce) : throw new BatchException($"maxRunNum is {atOnce}, must be from 1 to 256");
    }

    private static BatchNode Node(JsonObject node, int index, Dictionary<string, string> templates)
    {
        var name = node.Text("nodeName") is { Length: > 0 } given ? given : throw new BatchException($"nodes[{index}] has no nodeName");
        var command = node.Text("keadmCmd");
        foreach (var (key, value) in templates)
            command = command.Replace($"{{{{.{key}}}}}", value, StringComparison.Ordinal).Replace($"{{{{ .{key} }}}}", value, StringComparison.Ordinal);
        if (command.Length == 0 || command.Contains('\n', StringComparison.Ordinal) || command.Contains("{{", StringComparison.Ordinal))
            throw new BatchException($"node '{name}': keadmCmd must be one line of edgectl's arguments, e.g. 'join -e 192.0.2.1:10000 …'; of {{{{.NAME}}}} only those of keadm.cmdTplArgs are known");
        var ssh = node["ssh"];
        var host = ssh.Text("ip");
        if (host.Length == 0 || host.StartsWith('-') || host.Any(char.IsWhiteSpace))
            throw new BatchException($"node '{name}': ssh.ip is '{host}', must be an address or name");
        var user = ssh.Text("username") is { Length: > 0 } own ? own : "root";
        var port = ssh.Number(22, "port");
        if (port is < 1 or > 65535)
            throw new BatchException($"node '{name}': ssh.port is {port}, must be from 1 to 65535");
        if (ssh.Text("auth", "type") == "password" || ssh.At("auth", "passwordAuth") is not null)
            throw new BatchException($"node '{name}': ssh.auth.passwordAuth is not possible, a password in a file is no secret; use a key (ssh-copy-id {user}@{host})");
        var key1 = ssh.Text("auth", "privateKeyAuth", "privateKeyPath");
        return key1.Length > 0 && !File.Exists(key1)
            ? throw new BatchException($"node '{name}': ssh.auth.privateKeyAuth.privateKeyPath {key1} does not exist")
            : new BatchNode(name, command, host, user, (int)port, key1);
    }
}
