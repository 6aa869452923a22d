using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Kubernetes;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl ca list|rollover|drop-old</c>: the CA of nodes and hub, in the Secret kubeedge/casecret.</summary>
internal static class CaCommand
{
    // As cloudcore's default tokenRefreshDuration has it; cloudcore renews it by its own setting.
    private static readonly TimeSpan s_tokenLifetime = TimeSpan.FromHours(24);

    public static Command Create() => new("ca", """
        The CA that nodes and the hub trust: look at it, replace it while both are trusted, and end the trust in the old one.

        Examples:
          edgectl ca list
          edgectl ca rollover
          edgectl ca drop-old --yes
        """)
    {
        CreateList(),
        CreateRollover(),
        CreateDrop(),
    };

    private static Command CreateList()
    {
        var cluster = new KubeAccess();
        var output = Output.CreateOption();
        var command = new Command("list", """
            Lists the CAs: the one that issues, and after a rollover the former one, which is still trusted.

            Examples:
              edgectl ca list
              edgectl ca list -o json | jq -r '.items[] | select(.role == "active") | .sha256'
            """)
        {
            output, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("ca list", result, async kube =>
        {
            var read = await new CertificateStore(kube, TimeProvider.System).TryReadAuthoritiesAsync(cancellationToken)
                ?? throw new Cloud.CloudCoreException("there is no CA in Secret kubeedge/casecret; cloudcore makes it when it starts: is it running beside this cluster?");
            using var authorities = read.Authorities;
            (string Role, X509Certificate2 Certificate)[] all =
                [("active", authorities.Active.Certificate), .. authorities.Former.Select(one => ("former, trusted", one))];
            if (result.GetValue(output) == "json")
            {
                Console.Out.Write(Output.Json(writer =>
                {
                    writer.WriteStartObject();
                    writer.WriteStartArray("items");
                    foreach (var (role, certificate) in all)
                    {
                        writer.WriteStartObject();
                        writer.WriteString("id", JoinToken.AuthorityId(certificate.RawData));
                        writer.WriteString("sha256", Convert.ToHexStringLower(SHA256.HashData(certificate.RawData)));
                        writer.WriteString("role", role == "active" ? "active" : "former");
                        writer.WriteString("subject", certificate.Subject);
                        writer.WriteString("notAfter", KubeObject.Time(certificate.NotAfter.ToUniversalTime()));
                        writer.WriteEndObject();
                    }

                    writer.WriteEndArray();
                    writer.WriteString("activeSince", read.Since);
                    writer.WriteEndObject();
                }));
                return 0;
            }

            Console.Out.Write(Output.Table(["ID", "ROLE", "SINCE", "EXPIRES", "SUBJECT"], all.Select(one => (string[])
            [
                JoinToken.AuthorityId(one.Certificate.RawData), one.Role,
                one.Role == "active" && read.Since.Length > 0 ? read.Since : KubeObject.Time(one.Certificate.NotBefore.ToUniversalTime()),
                KubeObject.Time(one.Certificate.NotAfter.ToUniversalTime()), one.Certificate.Subject,
            ])));
            return 0;
        }));
        return command;
    }

    private static Command CreateRollover()
    {
        var cluster = new KubeAccess();
        var command = new Command("rollover", """
            Makes a new CA and keeps the present one as trusted. Running cloudcores take it up without a restart; connected nodes stay connected,
            and each gets a certificate of the new CA when it renews. Join tokens made before are void. (A CA that cloudcore reads from
            tlsCAFile is not concerned.)

            Examples:
              edgectl ca rollover
            """)
        {
            cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("ca rollover", result, async kube =>
        {
            var store = new CertificateStore(kube, TimeProvider.System);
            using var authorities = await store.RollOverAsync(cancellationToken);
            await store.RefreshTokenAsync(authorities, s_tokenLifetime, cancellationToken);
            Console.Out.WriteLine($"the CA {JoinToken.AuthorityId(authorities.Active.CertificateDer)} issues from now on; {JoinToken.AuthorityId(authorities.Former[0].RawData)} stays trusted");
            Console.Out.WriteLine("join tokens made before are void: 'edgectl gettoken' and 'edgectl token create' give new ones");
            Console.Out.WriteLine("when every node has renewed its certificate (edge_cloudhub_former_ca_clients_total no longer grows): 'edgectl ca drop-old --yes'");
            return 0;
        }));
        return command;
    }

    private static Command CreateDrop()
    {
        var cluster = new KubeAccess();
        var yes = new Option<bool>("--yes") { Description = "Does it; without it, only says what it would mean." };
        var command = new Command("drop-old", """
            Ends the trust in the CA before the last rollover. A node whose certificate is still of that CA, or which trusts only that CA, can
            then connect no more and has to join again with a token.

            Examples:
              edgectl ca drop-old --yes
            """)
        {
            yes, cluster.Kubeconfig, cluster.Context,
        };
        command.SetAction((result, cancellationToken) => cluster.RunAsync("ca drop-old", result, async kube =>
        {
            var store = new CertificateStore(kube, TimeProvider.System);
            if (!result.GetValue(yes))
            {
                using var present = await TokenCommand.AuthoritiesAsync(kube, cancellationToken);
                Console.Error.WriteLine(present.Former.Count == 0
                    ? "edgectl ca drop-old: there is no former CA: only the active one is trusted"
                    : $"edgectl ca drop-old: nothing was changed. Nodes that still have a certificate of the CA {JoinToken.AuthorityId(present.Former[0].RawData)} would have to join again; "
                        + "they renew at 70 to 90 % of its life. If the metric edge_cloudhub_former_ca_clients_total no longer grows, add --yes");
                return 1;
            }

            using var authorities = await store.DropFormerAsync(cancellationToken);
            Console.Out.WriteLine($"only the CA {JoinToken.AuthorityId(authorities.Active.CertificateDer)} is trusted now");
            return 0;
        }));
        return command;
    }
}
