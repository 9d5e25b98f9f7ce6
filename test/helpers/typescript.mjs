// Lets a plain Node run our TypeScript: node --import ./test/helpers/typescript.mjs file.ts
import { register } from "node:module";

register("./typescript-hooks.mjs", import.meta.url);
