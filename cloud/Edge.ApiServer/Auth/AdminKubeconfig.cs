using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Edge.ApiServer.Auth;

/// <summary>The administrator's kubeconfig, with the certificates inside, and the static administrator token.</summary>
internal static class AdminKubeconfig
{
    /// <summary>Writes the file (0600) where its content differs; it changes only with the address or the certificates.</summary>
    public static void Write(string path, Uri server, X509Certificate2 authority, X509Certificate2 client)
    {
        var text = $"""
            apiVersion: v1
            kind: Config
            clusters:
            - name: edge
              cluster:
                server: {server.GetLeftPart(UriPartial.Authority)}
                certificate-authority-data: {Base64(ServerPki.CertificatePem(authority))}
            users:
            - name: edge-admin
              user:
                client-certificate-data: {Base64(ServerPki.CertificatePem(client))}
                client-key-data: {Base64(ServerPki.KeyPem(client))}
            contexts:
            - name: edge
              context:
                cluster: edge
                user: edge-admin
                namespace: default
            current-context: edge

            """;
        if (!File.Exists(path) || File.ReadAllText(path) != text)
            PrivateFiles.Write(path, Encoding.UTF8.GetBytes(text));
    }

    /// <summary>The token in <paramref name="path"/>, made at first (256 random bits, hexadecimal, 0600).</summary>
    public static string LoadOrCreateToken(string path)
    {
        if (File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } kept)
            return kept;
        var token = Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32));
        PrivateFiles.Write(path, Encoding.ASCII.GetBytes(token + "\n"));
        return token;
    }

    private static string Base64(string text) => Convert.ToBase64String(Encoding.ASCII.GetBytes(text));
}
