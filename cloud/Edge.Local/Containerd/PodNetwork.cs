using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Edge.Local.Containerd;

/// <summary>The bridge and the /24 of one instance. A subnet is claimed by making its folder under /run/edge/subnets, which exactly
/// one process can do, so instances that start at once never share one.</summary>
internal sealed record PodNetwork(string Bridge, string Subnet)
{
    private const string ClaimRoot = "/run/edge/subnets";
    private const string OwnerFile = "owner";

    /// <summary>The instance's claim: the one it had, or a free one. 10.201.0.0/16 has room for 256 instances on a machine.</summary>
    public static PodNetwork Claim(string directory)
    {
        Directory.CreateDirectory(ClaimRoot);
        var bridge = BridgeOf(directory);
        var first = RandomNumberGenerator.GetInt32(256);
        for (var i = 0; i < 256; i++)
        {
            var third = (first + i) % 256;
            var claim = Path.Combine(ClaimRoot, third.ToString(CultureInfo.InvariantCulture));
            if (!TryTake(claim, directory) || IsRouted(third))
                continue;
            return new PodNetwork(bridge, $"10.201.{third}.0/24");
        }

        throw new ContainerdException($"all 256 pod subnets of 10.201.0.0/16 are taken; remove stale claims under {ClaimRoot}");
    }

    /// <summary>Removes the bridge, as a reboot does; the subnet stays claimed.</summary>
    public Task RemoveBridgeAsync() => RemoveBridgeAsync(Bridge);

    /// <summary>Removes the bridge and gives the subnet back.</summary>
    public static async Task ReleaseAsync(string directory)
    {
        await RemoveBridgeAsync(BridgeOf(directory));
        if (!Directory.Exists(ClaimRoot))
            return;
        foreach (var claim in Directory.EnumerateDirectories(ClaimRoot))
        {
            if (Owner(claim) == directory)
                Directory.Delete(claim, recursive: true);
        }
    }

    private static async Task RemoveBridgeAsync(string bridge)
    {
        if (Directory.Exists($"/sys/class/net/{bridge}"))
            await ContainerdRemains.RunAsync("ip", "link", "delete", bridge);
    }

    // Names of interfaces have at most 15 characters (IFNAMSIZ).
    private static string BridgeOf(string directory)
        => "edge" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(directory)))[..8];

    private static bool TryTake(string claim, string directory)
    {
        if (Directory.Exists(claim))
        {
            var owner = Owner(claim);
            if (owner is null || Directory.Exists(owner))
                return false;
            Directory.Delete(claim, recursive: true); // its instance's directory is gone
        }

        // rename fails when the target is there and not empty, so only one of two claimants gets it.
        var own = Directory.CreateDirectory(Path.Combine(ClaimRoot, $".{Guid.NewGuid():N}")).FullName;
        File.WriteAllText(Path.Combine(own, OwnerFile), directory);
        try
        {
            Directory.Move(own, claim);
            return true;
        }
        catch (IOException)
        {
            Directory.Delete(own, recursive: true);
            return false;
        }
    }

    private static string? Owner(string claim)
    {
        try
        {
            return File.ReadAllText(Path.Combine(claim, OwnerFile));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null; // released in between
        }
    }

    private static bool IsRouted(int third)
    {
        // /proc/net/route has destinations as little-endian hex: 10.201.3.0 is 0003C90A.
        var wanted = $"00{third:X2}C90A";
        return File.ReadLines("/proc/net/route").Any(line => line.Split('\t') is { Length: > 1 } fields && fields[1] == wanted);
    }
}
