using System.CommandLine;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.OnNode;

/// <summary>What is wrong on this node's side; the message says what to do.</summary>
internal sealed class NodeException(string message) : Exception(message);

/// <summary>The two APIs of the edgecore on this machine, with the node's own token: its files say where they are.</summary>
internal sealed record NodeAccess(string DataDirectory, int LocalApiPort, int MetaServerPort, string Token)
{
    public static Option<string> CreateOption() => new("--data-dir")
    {
        Description = "edgecore's data directory: edgecore.ports.json, localapi.token and pki/metaserver lie there. Without it $EDGECORE_DATA_DIR, then /var/lib/kubeedge.", HelpName = "DIR",
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("EDGECORE_DATA_DIR") is { Length: > 0 } set ? set : "/var/lib/kubeedge",
    };

    /// <summary>Reads where edgecore answers.</summary>
    /// <exception cref="NodeException">No edgecore runs with this directory, or its files may not be read.</exception>
    public static NodeAccess Read(string directory)
    {
        try
        {
            var ports = Path.Combine(directory, "edgecore.ports.json");
            if (!File.Exists(ports))
                throw new NodeException($"{ports} is not there: no edgecore has run with this data directory; name another with --data-dir, or run this on the node");
            var json = JsonNode.Parse(File.ReadAllText(ports));
            var token = Path.Combine(directory, "localapi.token");
            return new NodeAccess(directory, (int)json.Number(0, "localApi"), (int)json.Number(0, "metaServer"), File.Exists(token) ? File.ReadAllText(token).Trim() : "");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.Text.Json.JsonException)
        {
            throw new NodeException($"the files of edgecore in {directory} cannot be read: {e.Message}; run this as the user that edgecore runs as");
        }
    }

    /// <summary>Runs a command's work; what goes wrong is said on standard error and gives 1.</summary>
    public static async Task<int> RunAsync(string command, string directory, Func<NodeAccess, Task<int>> work)
    {
        try
        {
            return await work(Read(directory));
        }
        catch (NodeException e)
        {
            Console.Error.WriteLine($"edgectl {command}: {e.Message}");
        }
        catch (KubeException e)
        {
            Console.Error.WriteLine($"edgectl {command}: {e.Message.ReplaceLineEndings(" ")}");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or System.Net.WebSockets.WebSocketException)
        {
            Console.Error.WriteLine($"edgectl {command}: edgecore does not answer: {e.Message}; does it run?");
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine($"edgectl {command}: stopped before it was done");
        }

        return 1;
    }

    /// <summary>The Kubernetes API of this node.</summary>
    /// <exception cref="NodeException">MetaServer is off, or there is no token.</exception>
    public KubeProxy MetaServer()
    {
        if (MetaServerPort == 0)
            throw new NodeException("MetaServer does not run on this node: set modules.metaManager.metaServer.enable to true in edgecore.yaml and restart edgecore");
        RequireToken();
        var authority = Path.Combine(DataDirectory, "pki/metaserver/ca.crt");
        return new KubeProxy(new KubeClientOptions { Server = new Uri($"https://127.0.0.1:{MetaServerPort}"), CertificateAuthorityPem = File.Exists(authority) ? File.ReadAllText(authority) : null, Token = Token }, TimeProvider.System);
    }

    /// <summary>A client of the local API (logs, exec).</summary>
    /// <exception cref="NodeException">It is off.</exception>
    public HttpClient LocalApi()
    {
        if (LocalApiPort == 0)
            throw new NodeException("the local API does not run on this node: modules.edged.enable and tailoredKubeletConfig.enableServer must be true in edgecore.yaml");
        RequireToken();
        var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{LocalApiPort}"), Timeout = Timeout.InfiniteTimeSpan };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", Token);
        return http;
    }

    private void RequireToken()
    {
        if (Token.Length == 0)
            throw new NodeException($"{Path.Combine(DataDirectory, "localapi.token")} is not there: edgecore makes it while it runs pods (modules.edged.enable)");
    }
}
