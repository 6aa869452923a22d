using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Configuration;

namespace Edge.Kubernetes;

/// <summary>Reads <c>users[].user.exec</c> of a kubeconfig.</summary>
internal static class KubeconfigExec
{
    private const string ConfigExtension = "client.authentication.k8s.io/exec";

    /// <summary>Null where the user has no exec. Problems are a <see cref="ConfigException"/>.</summary>
    /// <param name="path">The kubeconfig; a command that is a relative path starts in its directory.</param>
    /// <param name="who">For errors, e.g. <c>the user of context 'a'</c>.</param>
    /// <param name="clusterJson">spec.cluster of the program's ExecCredential.</param>
    public static ExecPlugin? Read(string path, string who, JsonObject user, Func<string> clusterJson)
    {
        if (!user.ContainsKey("exec"))
            return null;
        var exec = user["exec"] as JsonObject ?? throw Problem(path, $"exec of {who} must be a mapping");
        var version = exec.Text("apiVersion");
        if (version is not (ExecCredential.V1 or ExecCredential.V1Beta1))
        {
            throw Problem(path, $"exec of {who} has apiVersion '{version}', must be {ExecCredential.V1} or {ExecCredential.V1Beta1}"
                + (version.EndsWith("v1alpha1", StringComparison.Ordinal) ? ", as v1alpha1 went with Kubernetes 1.24; make the entry anew with a current version of the program" : ""));
        }

        var command = exec.Text("command");
        if (command.Length == 0)
            throw Problem(path, $"exec of {who} has no command");
        switch (exec.Text("interactiveMode"))
        {
            case "Never" or "IfAvailable":
                break;
            case "" when version == ExecCredential.V1Beta1:
                break;
            case "":
                throw Problem(path, $"exec of {who} has no interactiveMode, which {version} wants: Never or IfAvailable");
            case "Always":
                throw Problem(path, $"exec of {who} has interactiveMode Always, and nobody sits before this program; use a user whose '{command}' asks nothing (Never or IfAvailable), a client certificate or a token");
            case var other:
                throw Problem(path, $"exec of {who} has interactiveMode '{other}', must be Never or IfAvailable");
        }

        var environment = exec.Items("env").Select(one => KeyValuePair.Create(one.Text("name"), one.Text("value"))).ToArray();
        if (environment.Any(one => one.Key.Length == 0 || one.Key.Contains('=', StringComparison.Ordinal)))
            throw Problem(path, $"exec of {who} has an env entry without a usable name");
        return new ExecPlugin
        {
            Command = command.Contains('/', StringComparison.Ordinal) ? Path.GetFullPath(command, Path.GetDirectoryName(Path.GetFullPath(path))!) : command,
            Arguments = exec["args"] is JsonArray arguments ? [.. arguments.Select(one => one?.ToString() ?? "")] : [],
            Environment = environment,
            ApiVersion = version,
            InstallHint = exec.Text("installHint"),
            ClusterJson = exec.Text("provideClusterInfo") switch
            {
                "true" => clusterJson(),
                "" or "false" => null,
                var other => throw Problem(path, $"provideClusterInfo of {who} is '{other}', must be true or false"),
            },
        };
    }

    /// <summary>spec.cluster as client-go gives it.</summary>
    /// <param name="text">The whole kubeconfig, whose extension for plugins keeps its types.</param>
    /// <param name="clusterName">Whose entry it is.</param>
    public static string Cluster(string text, string clusterName, JsonObject cluster, string? authority, bool isInsecure)
    {
        var info = new JsonObject { ["server"] = cluster.Text("server") };
        if (cluster.Text("tls-server-name") is { Length: > 0 } name)
            info["tls-server-name"] = name;
        if (isInsecure)
            info["insecure-skip-tls-verify"] = true;
        if (authority is not null)
            info["certificate-authority-data"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(authority));
        if (cluster.Text("proxy-url") is { Length: > 0 } proxy)
            info["proxy-url"] = proxy;
        var typed = YamlReader.ReadAll(text)[0].Items("clusters").FirstOrDefault(one => one.Text("name") == clusterName);
        var config = typed.Items("cluster", "extensions").FirstOrDefault(one => one.Text("name") == ConfigExtension)?["extension"];
        if (config is not null)
            info["config"] = config.DeepClone();
        return info.ToJsonString();
    }

    private static ConfigException Problem(string path, string what) => new([$"{path}: {what}"]);
}
