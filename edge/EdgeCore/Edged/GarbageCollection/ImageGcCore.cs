using Edge.Core.Configuration;

namespace Edge.Core.Edged.GarbageCollection;

/// <summary>An image at the runtime.</summary>
/// <param name="Names">Tags and digests.</param>
/// <param name="Pinned">The runtime, or we, need it whatever containers there are.</param>
internal sealed record ImageView(string Id, IReadOnlyList<string> Names, long Bytes, bool Pinned);

/// <summary>Decides which images go. Pure: what there is, what is used, how full the disk is and the time come in. Remembers when it first saw each image and when it was used last.</summary>
/// <remarks>Kubelet's rules (Kubernetes documentation, "Garbage collection of unused containers and images"): above the high threshold unused images go, those unused for longest
/// first, until the low one is reached; one seen for less than the minimum age stays; one unused for longer than the maximum age goes. Images that were there at the start have no
/// minimum age, and count as used at the start for the maximum.</remarks>
internal sealed class ImageGcCore(ResourceOptions options)
{
    private readonly Dictionary<string, Known> _known = new(StringComparer.Ordinal);
    private DateTimeOffset? _started;

    /// <summary>Notes what there is and what is used.</summary>
    /// <param name="used">Ids and names of images that containers have, or that pods are about to need.</param>
    public void Observe(IReadOnlyList<ImageView> images, IReadOnlySet<string> used, DateTimeOffset now)
    {
        var first = _started is null;
        _started ??= now;
        foreach (var gone in _known.Keys.Except(images.Select(image => image.Id)).ToList())
            _known.Remove(gone);
        foreach (var image in images)
        {
            if (!_known.TryGetValue(image.Id, out var known))
                _known.Add(image.Id, known = new Known(first ? DateTimeOffset.MinValue : now));
            known.Image = image;
            known.InUse = image.Pinned || used.Contains(image.Id) || image.Names.Any(used.Contains);
            if (known.InUse)
                known.LastUsed = now;
        }
    }

    /// <summary>The images to remove, first to go first, for the disk's fill.</summary>
    /// <param name="toFree">How many bytes are wanted, for the log; 0 when the disk is not too full.</param>
    public IReadOnlyList<ImageView> Decide(long available, long capacity, DateTimeOffset now, out long toFree)
    {
        toFree = 0;
        var chosen = new List<ImageView>();
        var unused = Unused().Where(known => now - known.FirstSeen >= options.ImageAgeMin).ToList();
        if (options.ImageAgeMax > TimeSpan.Zero)
            chosen.AddRange(unused.Where(known => now - Later(known.LastUsed, Later(known.FirstSeen, _started!.Value)) > options.ImageAgeMax).Select(known => known.Image!));
        if (capacity <= 0 || options.ImageGcHighPercent >= 100)
            return chosen;
        var usedPercent = 100 - (int)(Math.Max(0, available) * 100.0 / capacity);
        if (usedPercent < options.ImageGcHighPercent)
            return chosen;
        toFree = (capacity * (100 - options.ImageGcLowPercent) / 100) - available;
        var left = toFree - chosen.Sum(image => image.Bytes);
        foreach (var known in unused.Where(known => !chosen.Contains(known.Image!)))
        {
            if (left <= 0)
                break;
            chosen.Add(known.Image!);
            left -= known.Image!.Bytes;
        }

        return chosen;
    }

    /// <summary>Every image that nobody uses, of whatever age: for a node that is short of disk.</summary>
    public IReadOnlyList<ImageView> AllUnused() => [.. Unused().Select(known => known.Image!)];

    private IEnumerable<Known> Unused()
        => _known.Values.Where(known => !known.InUse).OrderBy(known => known.LastUsed).ThenBy(known => known.FirstSeen).ThenBy(known => known.Image!.Id, StringComparer.Ordinal);

    private static DateTimeOffset Later(DateTimeOffset a, DateTimeOffset b) => a > b ? a : b;

    private sealed class Known(DateTimeOffset firstSeen)
    {
        public ImageView? Image { get; set; }

        public DateTimeOffset FirstSeen { get; } = firstSeen;

        public DateTimeOffset LastUsed { get; set; } = DateTimeOffset.MinValue;

        public bool InUse { get; set; }
    }
}
