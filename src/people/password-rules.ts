import { z } from "zod";

export const shortestPassword = 12;
export const longestPassword = 200;

/** A password that is to be set. What else it must not be depends on whose it is: see `passwordProblem`. */
export const newPasswordSchema = z
  .string()
  .min(shortestPassword)
  .max(longestPassword)
  .meta({ description: "12 to 200 characters; not the email, the name, or one of the commonest" });

/** A password as it is given to be compared. */
export const givenPasswordSchema = z.string().min(1).max(longestPassword);

/** Of twelve characters or more, as they lead the lists of passwords that were found in leaks, without blanks and case. */
const commonest: ReadonlySet<string> = new Set(
  `000000000000 0123456789012 098765432109 0987654321098 111111111111 112233445566 121212121212 123123123123 123412341234
  123454321234 123456123456 123456654321 1234567654321 12345678900987654321 123456789000 123456789012 1234567890123
  12345678901234 123456789012345 1234567890123456 123456789abc 123456789qwe 1234567890abc 1234567890qwertyuiop
  123456abcdef 123456qwerty 123qweasdzxc 123qwe123qwe 147258369147 159753159753 1a2b3c4d5e6f 1q2w3e4r5t6y 1q2w3e4r5t6y7u
  1q2w3e4r5t6y7u8i 1q2w3e4r5t6y7u8i9o0p 1qaz2wsx3edc 1qaz2wsx3edc4rfv 1qazxsw23edc 1qazxsw23edcvfr4 789456123789 987654321012
  987654321987 abc123abc123 abc123456789 abcd12345678 abcdef123456 abcdefg12345 abcdefg1234567 abcdefghijkl abcdefghijklm
  abcdefghijklmnopqrstuvwxyz access123456 admin1234567 admin12345678 admin123admin123 adminadmin12 adminadminadmin
  administrator administrator1 administrator123 aq1sw2de3fr4 asdf1234asdf asdfasdfasdf asdfghjkl123 asdfghjkl1234
  asdfghjklqwertyuiop asdfjklasdfjkl azertyuiop12 azertyuiop123 basketball123 billgates123 butterfly123 changeitnow1
  changeme1234 changeme12345 changemeplease charlie12345 chelsea12345 chocolate123 computer1234 correcthorse
  correcthorsebatterystaple defaultpassword dragon123456 facebook1234 football1234 football12345 freedom12345 fuckyou12345
  google123456 handoff12345 handoff123456 handoffhandoff hello1234567 hello12345678 hello123hello helloworld12 helloworld123
  iloveyou1234 iloveyou12345 iloveyou123456 iloveyouiloveyou iloveyousomuch iloveyouforever internet1234 jennifer1234
  jesuschrist1 jordan123456 letmein12345 letmein123456 letmeinletmein letmeinplease linkedin1234 liverpool123 liverpool1234
  loveyouforever manchester12 manchester123 manchesterunited marketing123 michael12345 michelle1234 microsoft123
  monkey123456 motdepasse12 motdepasse123 mynameis1234 mynewpassword mypassword12 mypassword123 mypassword1234 newpassword1
  newpassword12 newpassword123 nopassword12 p@ssw0rd1234 p@ssw0rd12345 p@ssword1234 pa55word1234 pa$$w0rd1234 passw0rd1234
  passw0rd12345 passwort1234 passwort12345 password0000 password1111 password1234 password12345 password123456
  password1234567 password12345678 password123456789 password1234! password123! password123!@# password2020 password2021
  password2022 password2023 password2024 password2025 password2026 password321! passwordpassword password@123 password@1234
  pokemon12345 princess1234 princess12345 q1w2e3r4t5y6 q1w2e3r4t5y6u7 q1w2e3r4t5y6u7i8 qazwsx123456 qazwsxedc123 qazwsxedcrfv
  qazwsxedcrfvtgb qwaszxqwaszx qwe123qwe123 qweasdzxc123 qwer1234qwer qwerasdfzxcv qwerty112233 qwerty12345! qwerty123456
  qwerty1234567 qwerty12345678 qwerty123456789 qwertyqwerty qwertyqwertyqwerty qwertyui1234 qwertyuiop12 qwertyuiop123
  qwertyuiop1234 qwertyuiop12345 qwertyuiopasdf qwertyuiopasdfghjkl qwertyuiop[] samsung12345 secret123456 secretpassword
  september2024 september2025 spiderman123 starwars1234 sunshine1234 sunshine12345 superman1234 superman12345 temppassword
  temporary123 test12345678 test123456789 test1234test testpassword testtesttest thepassword1 thisismypassword
  trustno1trustno1 welcome12345 welcome123456 welcome1234! welcome2024! welcome2025! welcome2026! welcomeback1 whatever1234
  william12345 yourpassword zaq12wsxcde3 zaq1xsw2cde3 zaq1zaq1zaq1 zxcvbnm12345 zxcvbnm123456 zxcvbnmasdfghjkl zxcvbnmzxcvbnm`.split(
    /\s+/,
  ),
);

/** What speaks against a password of whoever has this email and name, in words; null: it may be set. */
export function passwordProblem(
  password: string,
  of: { readonly email: string; readonly name: string },
): string | null {
  const length = [...password].length;
  if (length < shortestPassword) return `must have at least ${shortestPassword} characters`;
  if (length > longestPassword) return `must have at most ${longestPassword} characters`;
  const plain = squeezed(password);
  const [localPart = ""] = of.email.split("@");
  if ([of.email, localPart, of.name].some((own) => isLittleMoreThan(plain, squeezed(own)))) {
    return "must not be the email address or the name";
  }
  if (isRepeated(plain)) return "must be more than a few characters over and over";
  if (commonest.has(plain)) return "is one of the commonest passwords, which are tried first";
  return null;
}

function squeezed(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(/\s+/g, "");
}

/** The email with a 1 behind it is the email. */
const mostAdded = 4;

function isLittleMoreThan(password: string, own: string): boolean {
  return own !== "" && password.includes(own) && password.length - own.length <= mostAdded;
}

/** Of a start of up to four characters that comes again and again. */
function isRepeated(password: string): boolean {
  return [1, 2, 3, 4].some((length) => {
    const start = password.slice(0, length);
    return start.repeat(Math.ceil(password.length / length)).slice(0, password.length) === password;
  });
}
