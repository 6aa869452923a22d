using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Configuration;

namespace Edge.Kubernetes;

/// <summary>Reads kubeconfig files and a pod's own service account. Problems are a <see cref="ConfigException"/> with file, entry and key; contents of keys
/// and tokens are never in it.</summary>
public static class Kubeconfig
{
    private const string ServiceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";
    private const long FileSizeMax = 16 * 1024 * 1024;

    /// <summary>The options for <paramref name="context"/>, or for the file's current context when null.</summary>
    public static KubeClientOptions Load(string path, string? context = null)
    {
        if (!File.Exists(path))
            throw new ConfigException([$"{path}: there is no such kubeconfig"]);
        return Parse(path, ReadFile(path, "kubeconfig"), context);
    }

    /// <summary>As <see cref="Load"/> for a list of files as in the variable KUBECONFIG, by kubectl's rules: what is not there is passed over, and of the entries of one name, and of the current
    /// contexts, the first counts. An entry's relative file names start at its own file.</summary>
    public static KubeClientOptions LoadList(string paths, string? context = null)
    {
        var files = paths.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries).ToList();
        var present = files.Where(File.Exists).ToList();
        return present.Count > 0 ? Choose([.. present.Select(path => Read(path, ReadFile(path, "kubeconfig")))], context)
            : throw new ConfigException([$"{string.Join(", ", files)}: there is no such kubeconfig"]);
    }

    /// <summary>As <see cref="Load"/> for text; <paramref name="path"/> stands in errors, and its directory is where relative file names start.</summary>
    public static KubeClientOptions Parse(string path, string text, string? context = null) => Choose([Read(path, text)], context);

    private static Source Read(string path, string text)
    {
        try
        {
            return YamlReader.ReadAll(text, plainAsText: true) is [JsonObject one] ? new Source(path, text, one)
                : throw new ConfigException([$"{path}: must be one YAML mapping with clusters, contexts and users"]);
        }
        catch (ManifestException e)
        {
            throw new ConfigException([$"{path}: {e.Message}"]);
        }
    }

    private static KubeClientOptions Choose(IReadOnlyList<Source> sources, string? context)
    {
        var name = context ?? sources.Select(source => source.Json.Text("current-context")).FirstOrDefault(one => one.Length > 0) ?? "";
        if (name.Length == 0)
            throw new ConfigException([$"{Paths(sources)}: has no current-context; its contexts: {Names(sources, "contexts")}"]);
        var chosen = Entry(sources, "contexts", "context", name);
        var clusterName = Required(chosen.Path, chosen.Json, $"context '{name}'", "cluster");
        var cluster = Entry(sources, "clusters", "cluster", clusterName);
        var user = chosen.Json.Text("user") is { Length: > 0 } userName ? Entry(sources, "users", "user", userName) : chosen with { Json = [] };
        return Options(name, chosen.Json, clusterName, cluster, user);
    }

    /// <summary>The API server and the service account of the pod that this process runs in.</summary>
    public static KubeClientOptions InCluster()
    {
        var host = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_HOST");
        var port = Environment.GetEnvironmentVariable("KUBERNETES_SERVICE_PORT");
        if (string.IsNullOrEmpty(host) || string.IsNullOrEmpty(port))
            throw new ConfigException(["not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give a kubeconfig"]);
        var namespaceFile = Path.Combine(ServiceAccountDirectory, "namespace");
        return new KubeClientOptions
        {
            Server = new Uri($"https://{(host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host)}:{port}"),
            CertificateAuthorityPem = ReadFile(Path.Combine(ServiceAccountDirectory, "ca.crt"), "certificate authority of the service account"),
            CertificateAuthorityFile = Path.Combine(ServiceAccountDirectory, "ca.crt"),
            TokenFile = Path.Combine(ServiceAccountDirectory, "token"),
            DefaultNamespace = File.Exists(namespaceFile) ? ReadFile(namespaceFile, "namespace of the service account").Trim() : "default",
        };
    }

    private static KubeClientOptions Options(string name, JsonObject context, string clusterName, Source clusterSource, Source userSource)
    {
        var (path, text, cluster) = clusterSource;
        var (userPath, _, user) = userSource;
        var server = Required(path, cluster, $"the cluster of context '{name}'", "server");
        if (!Uri.TryCreate(server, UriKind.Absolute, out var uri) || (uri.Scheme != "https" && uri.Scheme != "http"))
            throw new ConfigException([$"{path}: server '{server}' must be an https URL"]);
        foreach (var key in new[] { "auth-provider", "username", "password" })
        {
            if (user.ContainsKey(key))
                throw new ConfigException([$"{userPath}: the user of context '{name}' has '{key}', which Kubernetes no longer has; use a client certificate, token, tokenFile or exec"]);
        }

        var insecure = Truth(path, cluster, "insecure-skip-tls-verify");
        var authority = Data(path, cluster, "certificate-authority");
        if (insecure && authority is not null)
            throw new ConfigException([$"{path}: certificate-authority and insecure-skip-tls-verify exclude each other"]);
        if (authority is not null && !authority.Contains("-----BEGIN CERTIFICATE-----", StringComparison.Ordinal))
            throw new ConfigException([$"{path}: certificate-authority has no PEM certificate"]);
        var isFromFiles = DataFile(userPath, user, "client-certificate") is not null && DataFile(userPath, user, "client-key") is not null;
        return new KubeClientOptions
        {
            Server = uri,
            CertificateAuthorityPem = authority,
            InsecureSkipTlsVerify = insecure,
            ProxyUrl = cluster.Text("proxy-url") is not { Length: > 0 } proxy ? null
                : ProxyChoice.TryRead(proxy) ?? throw new ConfigException([$"{path}: proxy-url of the cluster of context '{name}' must be a URL with http, https or socks5, e.g. http://proxy:3128"]),
            CertificateAuthorityFile = DataFile(path, cluster, "certificate-authority"),
            TlsServerName = cluster.Text("tls-server-name") is { Length: > 0 } tlsName ? tlsName : null,
            ClientCertificate = Certificate(userPath, user),
            ClientCertificateFile = isFromFiles ? DataFile(userPath, user, "client-certificate") : null,
            ClientKeyFile = isFromFiles ? DataFile(userPath, user, "client-key") : null,
            Exec = KubeconfigExec.Read(userPath, $"the user of context '{name}'", user, () => KubeconfigExec.Cluster(text, clusterName, cluster, authority, insecure)),
            Token = user.Text("token") is { Length: > 0 } token ? token : null,
            TokenFile = user.Text("tokenFile") is { Length: > 0 } file ? Resolve(userPath, file) : null,
            Impersonate = Impersonated(userPath, name, user),
            DefaultNamespace = context.Text("namespace") is { Length: > 0 } space ? space : "default",
        };
    }

    private static ImpersonatedUser? Impersonated(string path, string name, JsonObject user)
    {
        var impersonated = new ImpersonatedUser(
            user.Text("as"),
            user.Text("as-uid"),
            user["as-groups"] is JsonArray groups ? [.. groups.Select(one => one?.ToString() ?? "")] : [],
            user["as-user-extra"] is JsonObject extra ? [.. extra.SelectMany(pair => (pair.Value as JsonArray ?? []).Select(one => KeyValuePair.Create(pair.Key, one?.ToString() ?? "")))] : []);
        if (impersonated is { User: "", Uid: "", Groups.Count: 0, Extra.Count: 0 })
            return null;
        if (impersonated.User.Length == 0)
            throw new ConfigException([$"{path}: the user of context '{name}' has as-uid, as-groups or as-user-extra without 'as', the user they belong to"]);
        // Each is a header of its own to the API server, and .NET joins headers of one name with commas.
        var several = impersonated.Groups.Count > 1 ? "as-groups" : impersonated.Extra.Select(one => one.Key).Distinct().Count() < impersonated.Extra.Count ? "as-user-extra" : "";
        return several.Length == 0 ? impersonated
            : throw new ConfigException([$"{path}: the user of context '{name}' has several values in {several}, of which only one can be sent; bind the rights to the user of 'as' or to one group"]);
    }

    private static X509Certificate2? Certificate(string path, JsonObject user)
    {
        var certificate = Data(path, user, "client-certificate");
        var key = Data(path, user, "client-key");
        if (certificate is null && key is null)
            return null;
        if (certificate is null || key is null)
            throw new ConfigException([$"{path}: client-certificate and client-key must both be given (or their -data forms)"]);
        try
        {
            return X509Certificate2.CreateFromPem(certificate, key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new ConfigException([$"{path}: the client certificate and key cannot be used: {e.Message}"]);
        }
    }

    // Kubernetes: the -data form wins over the file.
    private static string? Data(string path, JsonObject entry, string key)
    {
        if (entry.Text($"{key}-data") is { Length: > 0 } data)
        {
            try
            {
                return Encoding.UTF8.GetString(Convert.FromBase64String(data));
            }
            catch (FormatException)
            {
                throw new ConfigException([$"{path}: {key}-data is not base64"]);
            }
        }

        return entry.Text(key) is { Length: > 0 } file ? ReadFile(Resolve(path, file), $"{key} of {path}") : null;
    }

    // The file of a key that has no -data form beside it.
    private static string? DataFile(string path, JsonObject entry, string key)
        => entry.Text($"{key}-data").Length == 0 && entry.Text(key) is { Length: > 0 } file ? Resolve(path, file) : null;

    private static bool Truth(string path, JsonObject entry, string key) => entry.Text(key) switch
    {
        "" or "false" => false,
        "true" => true,
        var other => throw new ConfigException([$"{path}: {key} is '{other}', must be true or false"]),
    };

    private static Source Entry(IReadOnlyList<Source> sources, string list, string key, string name)
    {
        foreach (var source in sources)
        {
            if (source.Json.Items(list).FirstOrDefault(item => item.Text("name") == name) is { } entry)
                return source with { Json = entry[key] as JsonObject ?? throw new ConfigException([$"{source.Path}: '{name}' under {list} has no '{key}' mapping"]) };
        }

        throw new ConfigException([$"{Paths(sources)}: there is no '{name}' under {list}; known: {Names(sources, list)}"]);
    }

    private static string Names(IReadOnlyList<Source> sources, string list)
        => sources.SelectMany(source => source.Json.Items(list)).Select(item => item.Text("name")).Distinct().ToArray() is { Length: > 0 } names ? string.Join(", ", names) : "none";

    private static string Paths(IReadOnlyList<Source> sources) => string.Join(", ", sources.Select(source => source.Path));

    private static string Required(string path, JsonObject entry, string what, string key)
        => entry.Text(key) is { Length: > 0 } value ? value : throw new ConfigException([$"{path}: {what} has no {key}"]);

    private static string Resolve(string path, string file) => Path.GetFullPath(file, Path.GetDirectoryName(Path.GetFullPath(path))!);

    private static string ReadFile(string file, string what)
    {
        try
        {
            if (new FileInfo(file) is { Exists: true, Length: > FileSizeMax })
                throw new ConfigException([$"{file}: is larger than {FileSizeMax} bytes"]);
            return File.ReadAllText(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigException([$"{file}: the {what} cannot be read: {e.Message}"]);
        }
    }

    // A file, or an entry of one.
    private sealed record Source(string Path, string Text, JsonObject Json);
}
