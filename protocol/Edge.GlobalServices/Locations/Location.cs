namespace Edge.GlobalServices.Locations;

/// <summary>Where something is. Texts that are not known are empty; they are compared as they are written.</summary>
/// <param name="Country">ISO 3166-1, e.g. <c>DE</c>.</param>
/// <param name="Region">A group of sites; from an .mmdb file, ISO 3166-2, e.g. <c>DE-HE</c>.</param>
/// <param name="Site">One place, e.g. <c>fra-1</c>.</param>
/// <param name="Point">Null when not known.</param>
internal sealed record Location(string Country, string Region, string Site, GeoPoint? Point)
{
    public static Location Unknown { get; } = new("", "", "", null);

    /// <summary>What stands for a distance between two places of which one has no coordinates: km, between the same site, region, country, and elsewhere.</summary>
    private static readonly double[] s_assumedKm = [0, 500, 2_000, 12_000];

    /// <summary>The squared chord between two places on the unit sphere, which orders like the great-circle distance and needs no trigonometry. Without
    /// coordinates the distance is assumed from the names: 0 km within a site, 500 within a region, 2,000 within a country, else 12,000.</summary>
    public static double Chord2(Location from, Location to)
    {
        if (from.Point is { } a && to.Point is { } b)
            return GeoPoint.Chord2(a, b);
        var step = Same(from.Site, to.Site) ? 0 : Same(from.Region, to.Region) ? 1 : Same(from.Country, to.Country) ? 2 : 3;
        return GeoPoint.Chord2OfKm(s_assumedKm[step]);
    }

    public override string ToString()
    {
        var names = string.Join('/', new[] { Country, Region, Site }.Where(name => name.Length > 0));
        return Point is { } point ? $"{(names.Length > 0 ? names + " " : "")}({point})" : names.Length > 0 ? names : "unknown";
    }

    private static bool Same(string a, string b) => a.Length > 0 && a == b;
}

/// <summary>A point on the earth as a sphere, kept as a unit vector.</summary>
internal readonly record struct GeoPoint
{
    /// <summary>The mean radius of the earth (IUGG), km.</summary>
    public const double RadiusKm = 6371.0088;

    private readonly double _x;
    private readonly double _y;
    private readonly double _z;

    /// <param name="latitude">Degrees, -90 to 90.</param>
    /// <param name="longitude">Degrees, -180 to 180.</param>
    public GeoPoint(double latitude, double longitude)
    {
        (Latitude, Longitude) = (latitude, longitude);
        var (sinLatitude, cosLatitude) = Math.SinCos(latitude * Math.PI / 180);
        var (sinLongitude, cosLongitude) = Math.SinCos(longitude * Math.PI / 180);
        (_x, _y, _z) = (cosLatitude * cosLongitude, cosLatitude * sinLongitude, sinLatitude);
    }

    public double Latitude { get; }

    public double Longitude { get; }

    public static bool IsValid(double latitude, double longitude) => latitude is >= -90 and <= 90 && longitude is >= -180 and <= 180;

    public static double Chord2(in GeoPoint a, in GeoPoint b)
    {
        var (x, y, z) = (a._x - b._x, a._y - b._y, a._z - b._z);
        return (x * x) + (y * y) + (z * z);
    }

    /// <summary>The great-circle distance that a squared chord stands for.</summary>
    public static double Km(double chord2) => 2 * RadiusKm * Math.Asin(Math.Min(1, Math.Sqrt(chord2) / 2));

    public static double Chord2OfKm(double km)
    {
        var half = 2 * Math.Sin(km / (2 * RadiusKm));
        return half * half;
    }

    public override string ToString() => FormattableString.Invariant($"{Latitude:0.####}, {Longitude:0.####}");
}
